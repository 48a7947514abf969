/**
 * Creates the link and the pipeline of a session connection; `session-connections.ts` starts and keeps them.
 */
import type { Limits } from '../../config/limits.ts';
import type { LearnedOpening } from '../../model/raw-listing.ts';
import type { ServerSpec } from '../../model/snapshot.ts';
import type { Bulkhead } from '../../resilience/bulkhead.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import { isLocal } from '../call-endings.ts';
import type { ToolHeaders } from '../era-2026/tool-headers.ts';
import { Link } from '../link/link.ts';
import { UpstreamPipeline } from '../pipeline.ts';
import type { Transport, TransportEvents } from '../transport/transport.ts';
import { SessionConnectionOpenings } from './session-connection-opening.ts';
import type { SessionConnectionsParts } from './session-connections.ts';

interface SessionConnectionMakerParts {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly spec: ServerSpec;
  readonly version: string;
  readonly startGate: Bulkhead;
  readonly toolHeaders: ToolHeaders;
  readonly makeTransport: (spec: ServerSpec, events: TransportEvents) => Transport;
  /** Returns the protocol version of the server's shared link. */
  readonly spoken: () => string | undefined;
  /** Returns how the shared link has learned to initialize the server. */
  readonly openingBefore: () => LearnedOpening | undefined;
}

/**
 * Returns the factory. A session connection lives in the worker that serves its session, also when the server belongs
 * to another one.
 */
export function sessionConnectionMaker(parts: SessionConnectionMakerParts): SessionConnectionsParts['make'] {
  const { runtime, limits, spec, version, startGate, toolHeaders, makeTransport, spoken, openingBefore } = parts;
  const kind = isLocal(spec) ? 'local' : 'remote';
  const openings = new SessionConnectionOpenings(runtime.clock, spec);
  return (clientContext, share) => {
    const opening = openings.of(clientContext, spoken);
    const link: Link = new Link({
      runtime,
      limits,
      spec,
      version,
      kind,
      startGate,
      clientContext,
      toolHeaders,
      makeTransport,
      openingBefore,
      // Session connections of one key queue behind each other, not ahead of other keys.
      startOwner: `${spec.slug} for ${share}`,
      spokenBefore: opening.before,
      listed: () => {},
      ready() {
        opening.met(link.view.hello?.version);
        pipeline.becameReady();
      },
    });
    const pipeline: UpstreamPipeline = new UpstreamPipeline({ runtime, limits, spec, link });
    return { link, pipeline };
  };
}

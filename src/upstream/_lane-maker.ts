/**
 * Makes the link of a lane and what stands before it.
 * Does not: start it, or keep it (`lanes.ts`).
 */
import type { Limits } from '../config/limits.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { LearnedOpening } from '../kernel/raw-listing.ts';
import type { ServerSpec } from '../kernel/snapshot.ts';
import type { Bulkhead } from '../resilience/bulkhead.ts';
import { isLocal } from './_endings.ts';
import { LaneOpenings } from './_lane-opening.ts';
import type { ToolHeaders } from './_tool-headers.ts';
import type { LanesParts } from './lanes.ts';
import { Link } from './link.ts';
import { Stack } from './stack.ts';
import type { Transport, TransportEvents } from './transport.ts';

interface LaneMakerParts {
  readonly kernel: Kernel;
  readonly limits: Limits;
  readonly spec: ServerSpec;
  readonly version: string;
  readonly startGate: Bulkhead;
  readonly toolHeaders: ToolHeaders;
  readonly makeTransport: (spec: ServerSpec, events: TransportEvents) => Transport;
  /** What is spoken with the server on its shared link. */
  readonly spoken: () => string | undefined;
  /** How it has learned to initialize the server there. */
  readonly openingBefore: () => LearnedOpening | undefined;
}

/** A lane lives in the hub where its session calls, also when the server's home is another one. */
export function laneMaker(parts: LaneMakerParts): LanesParts['make'] {
  const { kernel, limits, spec, version, startGate, toolHeaders, makeTransport, spoken, openingBefore } = parts;
  const kind = isLocal(spec) ? 'local' : 'remote';
  const openings = new LaneOpenings(kernel.clock, spec);
  return (talk, share) => {
    const opening = openings.of(talk, spoken);
    const link: Link = new Link({
      ...{ kernel, limits, spec, version, kind, startGate, talk, toolHeaders, makeTransport, openingBefore },
      // One key's sessions stand in line behind each other, not before others'.
      startOwner: `${spec.slug} for ${share}`,
      spokenBefore: opening.before,
      listed: () => {},
      ready() {
        opening.met(link.view.hello?.version);
        stack.becameReady();
      },
    });
    const stack: Stack = new Stack({ kernel, limits, spec, link });
    return { link, stack };
  };
}

/** Selects the transport for a server; the only place that knows all kinds. */
import { limitsAtConnect } from '../config/current-limits.ts';
import type { Limits } from '../config/limits.ts';
import type { ServerSpec } from '../model/snapshot.ts';
import type { Egress } from '../net/egress.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { InstallLock } from '../subprocess/install/install-lock.ts';
import type { SearchPath } from '../subprocess/prepare/search-path.ts';
import { Launched } from '../subprocess/spawn/launch.ts';
import { type SessionMemory, sessionTarget } from '../upstream/single-session/session-memory.ts';
import { createSseTransport } from '../upstream/transport/sse/sse.ts';
import { createStdioTransport } from '../upstream/transport/stdio/stdio.ts';
import { createHttpTransport } from '../upstream/transport/streamable-http/streamable-http.ts';
import type { Transport, TransportEvents } from '../upstream/transport/transport.ts';
import { createUntypedTransport } from '../upstream/transport/untyped.ts';

/** `isShared` is false for a session connection. */
export type TransportMaker = (spec: ServerSpec, events: TransportEvents, isShared: boolean) => Transport;

export interface TransportDeps {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly egress: Egress;
  readonly searchPath: SearchPath;
  readonly installLock: InstallLock;
  readonly configDir: string;
  /** Mark of this process's descendants. */
  readonly mark: string;
  /** Where the sessions of shared connections are stored. */
  readonly sessions: SessionMemory;
}

export function transportMaker(parts: TransportDeps): TransportMaker {
  return (spec, events, isShared) => {
    const deps = { ...parts, limits: limitsAtConnect(parts.limits) };
    const { transport } = spec;
    if (transport.kind === 'stdio') return createStdioTransport({ ...deps, spec, process: transport, events });
    if (transport.kind === 'sse') return createSseTransport({ ...deps, spec, sse: transport, events });
    const isRemembered = isShared && transport.launch === undefined;
    const remembered = isRemembered
      ? { memory: deps.sessions, target: sessionTarget(spec.slug, transport) }
      : undefined;
    if (transport.untyped) {
      return createUntypedTransport({
        runtime: deps.runtime,
        server: spec.name,
        events,
        makeHttp: (own) =>
          createHttpTransport({ ...deps, spec, http: transport, events: own, launched: undefined, remembered }),
        makeSse: (own) => createSseTransport({ ...deps, spec, sse: transport, events: own }),
      });
    }
    const launched = transport.launch
      ? new Launched({
          ...deps,
          spec,
          process: transport.launch,
          events: {
            said: (line) => events.said(line),
            alive: () => events.alive(undefined),
            phase: (phase) => events.phase(phase),
            exited: (fault) => events.closed(fault),
          },
        })
      : undefined;
    return createHttpTransport({ ...deps, spec, http: transport, events, launched, remembered });
  };
}

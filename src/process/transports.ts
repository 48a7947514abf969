/**
 * Which transport a server gets: the one place that knows both kinds.
 */
import type { Limits } from '../config/limits.ts';
import { HubError } from '../kernel/errors.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { ServerSpec } from '../kernel/snapshot.ts';
import type { Egress } from '../net/egress.ts';
import type { InstallLock } from '../upstream/child/install-lock.ts';
import { createLaunched } from '../upstream/child/launch.ts';
import type { SearchPath } from '../upstream/child/search-path.ts';
import type { Transport, TransportEvents } from '../upstream/transport.ts';
import { createHttpTransport } from '../upstream/transports/http.ts';
import { createStdioTransport } from '../upstream/transports/stdio.ts';

export type TransportMaker = (spec: ServerSpec, events: TransportEvents) => Transport;

export interface TransportGround {
  readonly kernel: Kernel;
  readonly limits: Limits;
  readonly egress: Egress;
  readonly searchPath: SearchPath;
  readonly installLock: InstallLock;
  readonly configDir: string;
  /** Mark of this process's descendants. */
  readonly mark: string;
}

export function transportMaker(ground: TransportGround): TransportMaker {
  return (spec, events) => {
    const { transport } = spec;
    if (transport.kind === 'stdio') return createStdioTransport({ ...ground, spec, process: transport, events });
    if (transport.kind === 'sse') return new NotServedYet(spec);
    const launched = transport.launch
      ? createLaunched({
          ...ground,
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
    return createHttpTransport({ ...ground, spec, http: transport, events, launched });
  };
}

/** HTTP+SSE of 2024-11-05: configured servers of this kind are named as such instead of failing strangely. */
class NotServedYet implements Transport {
  readonly #spec: ServerSpec;

  constructor(spec: ServerSpec) {
    this.#spec = spec;
  }

  async start(): Promise<void> {
    throw new HubError('not-served-yet', {
      message: `${this.#spec.slug} is of type sse (HTTP+SSE of 2024-11-05), which this version does not speak; most such servers also offer streamable-http.`,
      detail: { server: this.#spec.slug, phase: 'connect', setting: 'type' },
    });
  }
  send(): undefined {}
  abort(): void {}
  negotiated(): void {}
  cpuMs(): undefined {}
  stderrTail(): readonly string[] {
    return [];
  }
  async stop(): Promise<void> {}
}

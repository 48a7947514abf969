/**
 * Servers that were removed from the registry: calls may finish, then everything of the server is stopped.
 * Guarantees: each ends within `drainMs` plus the time to stop a child; `endNow` ends their calls now.
 */
import type { Limits } from '../config/limits.ts';
import type { Deadline } from '../runtime/deadline.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { SessionConnections } from './interactive/session-connections.ts';
import type { Link } from './link/link.ts';
import type { UpstreamPipeline } from './pipeline.ts';

interface Departing {
  readonly link: Link;
  readonly pipeline: UpstreamPipeline;
  readonly sessionConnections: SessionConnections | undefined;
}

interface Departure {
  readonly slug: string;
  readonly gone: Promise<void>;
  readonly endNow: () => void;
}

export class Departures {
  readonly #runtime: Runtime;
  readonly #limits: Limits;
  readonly #all = new Set<Departure>(); // bounded by: servers that were there; each leaves within drainMs and a stop

  constructor(runtime: Runtime, limits: Limits) {
    this.#runtime = runtime;
    this.#limits = limits;
  }

  /** Drains and stops a server. Settles when nothing of it is left. Never rejects. */
  begin(slug: string, member: Departing): Promise<void> {
    const drain = this.#runtime.deadline(this.#limits.drainMs);
    const gone = this.#retire(member, drain);
    const departure: Departure = { slug, gone, endNow: () => drain.end('stopped') };
    this.#all.add(departure);
    this.#runtime.scope.run(`stop ${slug}`, async () => {
      await gone;
      this.#all.delete(departure);
    });
    return gone;
  }

  /** Returns promises for the end of what is still running of a server. */
  of(slug: string): Promise<void>[] {
    return [...this.#all].filter((one) => one.slug === slug).map(({ gone }) => gone);
  }

  /** Ends their calls now; returns promises for their end. */
  endNow(): Promise<void>[] {
    for (const { endNow } of this.#all) endNow();
    return [...this.#all].map(({ gone }) => gone);
  }

  async #retire(member: Departing, drain: Deadline): Promise<void> {
    await Promise.all([member.pipeline.drain(drain), member.sessionConnections?.drain(drain)]);
    drain[Symbol.dispose]();
    member.pipeline.close();
    using deadline = this.#runtime.deadline(this.#limits.childTermMs * 4);
    await Promise.all([member.link.stop(deadline), member.sessionConnections?.stop(deadline)]);
  }
}

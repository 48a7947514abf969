/**
 * Servers on their way out of a fleet: calls may finish, then everything of the server ends.
 * Guarantees: each is over by `drainMs` and the time to stop a child; `hurry` ends their calls now.
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
  readonly hurry: () => void;
}

export class Departures {
  readonly #runtime: Runtime;
  readonly #limits: Limits;
  readonly #all = new Set<Departure>(); // bounded by: servers that were there; each leaves within drainMs and a stop

  constructor(runtime: Runtime, limits: Limits) {
    this.#runtime = runtime;
    this.#limits = limits;
  }

  /** Settles when everything of the server has ended. Never rejects. */
  begin(slug: string, member: Departing): Promise<void> {
    const drain = this.#runtime.deadline(this.#limits.drainMs);
    const gone = this.#retire(member, drain);
    const departure: Departure = { slug, gone, hurry: () => drain.end('stopped') };
    this.#all.add(departure);
    this.#runtime.scope.run(`stop ${slug}`, async () => {
      await gone;
      this.#all.delete(departure);
    });
    return gone;
  }

  /** The ends of what is still there of a server. */
  of(slug: string): Promise<void>[] {
    return [...this.#all].filter((one) => one.slug === slug).map(({ gone }) => gone);
  }

  /** Ends their calls now, and returns their ends. */
  hurry(): Promise<void>[] {
    for (const { hurry } of this.#all) hurry();
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

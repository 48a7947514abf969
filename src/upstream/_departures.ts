/**
 * Servers on their way out of a fleet: calls may finish, then everything of the server ends.
 * Guarantees: each is over by `drainMs` and the time to stop a child; `hurry` ends their calls now.
 */
import type { Limits } from '../config/limits.ts';
import type { Deadline } from '../kernel/deadline.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { Lanes } from './lanes.ts';
import type { Link } from './link.ts';
import type { Stack } from './stack.ts';

interface Departing {
  readonly link: Link;
  readonly stack: Stack;
  readonly lanes: Lanes | undefined;
}

interface Departure {
  readonly slug: string;
  readonly gone: Promise<void>;
  readonly hurry: () => void;
}

export class Departures {
  readonly #kernel: Kernel;
  readonly #limits: Limits;
  readonly #all = new Set<Departure>(); // bounded by: servers that were there; each leaves within drainMs and a stop

  constructor(kernel: Kernel, limits: Limits) {
    this.#kernel = kernel;
    this.#limits = limits;
  }

  /** Settles when everything of the server has ended. Never rejects. */
  begin(slug: string, member: Departing): Promise<void> {
    const drain = this.#kernel.deadline(this.#limits.drainMs);
    const gone = this.#retire(member, drain);
    const departure: Departure = { slug, gone, hurry: () => drain.end('stopped') };
    this.#all.add(departure);
    this.#kernel.scope.run(`stop ${slug}`, async () => {
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
    await Promise.all([member.stack.drain(drain), member.lanes?.drain(drain)]);
    drain[Symbol.dispose]();
    member.stack.close();
    using deadline = this.#kernel.deadline(this.#limits.childTermMs * 4);
    await Promise.all([member.link.stop(deadline), member.lanes?.stop(deadline)]);
  }
}

/**
 * Waits for the answer to an initialize that its connection has given up, and ends the session that the answer gives.
 * Guarantees: a wait takes at most `startMs`; at most two of one target at a time; after the connection has stopped,
 * the last wait closes its pool.
 */

import type { ResponseHandler } from '../../../net/egress.ts';
import type { Runtime } from '../../../runtime/runtime.ts';
import type { Wire } from '../http/wire.ts';
import type { HeldSession, HeldSessionHost, RememberedAs } from './held-session.ts';
import { Opening } from './opening.ts';

export interface LateOpeningsParts {
  readonly host: HeldSessionHost & { readonly runtime: Runtime; readonly limits: { readonly startMs: number } };
  readonly held: HeldSession;
  readonly remembered: RememberedAs;
  readonly wire: () => Wire | undefined;
}

const CLOSE_MS = 1000;

export class LateOpenings {
  readonly #parts: LateOpeningsParts;
  #waiting = 0;
  #isStopped = false;

  constructor(parts: LateOpeningsParts) {
    this.#parts = parts;
  }

  /** Returns the handler for an initialize, in place of its exchange. */
  opening(exchange: ResponseHandler): Opening {
    const opening: Opening = new Opening(exchange, () => this.#begin(opening));
    return opening;
  }

  /** Stops. Returns whether the caller closes the pool now; otherwise the last wait closes it. */
  stop(): boolean {
    this.#isStopped = true;
    return this.#waiting === 0;
  }

  #begin(opening: Opening): boolean {
    const { host, remembered } = this.#parts;
    const place = host.runtime.scope.closed ? undefined : remembered.memory.waitLate(remembered.target);
    if (!place) return false;
    this.#waiting += 1;
    host.runtime.scope.run(`late answer of ${host.server}`, async () => {
      using _ = place;
      await this.#wait(opening);
      this.#waiting -= 1;
      if (!this.#isStopped || this.#waiting > 0) return;
      using deadline = host.runtime.deadline(CLOSE_MS);
      await this.#parts.wire()?.pool.close(deadline);
    });
    return true;
  }

  async #wait(opening: Opening): Promise<void> {
    const { host, held } = this.#parts;
    using deadline = host.runtime.deadline(host.limits.startMs);
    const about = { label: 'upstream-handshake', owner: host.server, deadline } as const;
    const id = await host.runtime.waits.for(opening.session, about).catch(() => undefined);
    opening.end(host.abortReason);
    if (id === undefined) return;
    using soon = host.runtime.deadline(host.limits.handshakeMs);
    await held.endLate(id, soon);
  }
}

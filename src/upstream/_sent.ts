/**
 * The requests of one connection to a stateless server, by the hub's ids: what was sent, and under which number it travels. Each round of a call
 * is a request of its own and has a number of its own (specification 2026-07-28: the id of a retry must be another).
 * Promises: an answer finds its request once; what comes late, twice, or to an earlier round finds nothing.
 * Does not: send (`era-transport.ts`).
 */
import type { Deadline } from '../kernel/deadline.ts';

export interface SentRequest {
  readonly method: string;
  /** As the hub's own rooms made it; undefined = none. */
  readonly params: Buffer | undefined;
  readonly deadline: Deadline;
  /** It was refused for its headers before, and is sent once more. */
  readonly isRepeated?: boolean;
}

interface Entry {
  readonly wire: number;
  /** Undefined = answered; the call goes on when its user has answered. */
  readonly request: SentRequest | undefined;
}

/** The hub's ids are smaller for 6.9 × 10¹⁰ requests on one connection; sixteen rounds stay exact numbers. */
const ROUND = 2 ** 49;

/** The hub's id of a request on the wire. */
export function idOf(wire: number): number {
  return wire % ROUND;
}

export class SentRequests {
  readonly #byId = new Map<number, Entry>(); // bounded by: the requests in flight

  /** The number of this request on the wire. */
  add(id: number, request: SentRequest): number {
    const before = this.#byId.get(id);
    const wire = before ? before.wire + ROUND : id;
    this.#byId.set(id, { wire, request });
    return wire;
  }

  /** Undefined = nobody waits for it. */
  answered(wire: number): SentRequest | undefined {
    const id = idOf(wire);
    const entry = this.#byId.get(id);
    if (entry?.wire !== wire) return undefined;
    this.#byId.set(id, { wire, request: undefined });
    return entry.request;
  }

  /** Of a request that waits for its answer under this number. */
  methodOf(wire: number): string | undefined {
    const entry = this.#byId.get(idOf(wire));
    return entry?.wire === wire ? entry.request?.method : undefined;
  }

  wireOf(id: number): number {
    return this.#byId.get(id)?.wire ?? id;
  }

  forget(id: number): void {
    this.#byId.delete(id);
  }
}

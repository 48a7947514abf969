/**
 * The requests of one connection to a stateless server by the hub's ids, with their numbers on the wire. Each round of
 * a call is a request with another number (specification 2026-07-28: the id of a retry must differ). `era-transport.ts`
 * sends them.
 * Guarantees: an answer finds its request once; a late or duplicate one, or one to an earlier round, finds none.
 */

import { replyNumber } from '../../protocol/answer.ts';
import type { Envelope } from '../../protocol/message.ts';
import type { Deadline } from '../../runtime/deadline.ts';

export interface SentRequest {
  readonly method: string;
  /** As the hub's own modules built it; undefined for none. */
  readonly params: Buffer | undefined;
  readonly deadline: Deadline;
  /** It was refused for its headers before, and is sent once more. */
  readonly isRepeated?: boolean;
}

interface Entry {
  readonly wire: number;
  /** Undefined after an answer; the call continues when its user has answered. */
  readonly request: SentRequest | undefined;
}

export class SentRequests {
  readonly #byId = new Map<number, Entry>(); // bounded by: the requests in flight
  /** Only requests that are sent for a second time or later, by their number on the wire. */
  readonly #byWire = new Map<number, number>(); // bounded by: the requests in flight
  readonly #nextId: () => number;

  /** `nextId` returns an id that no request of this connection has. */
  constructor(nextId: () => number) {
    this.#nextId = nextId;
  }

  /** Returns the hub's id of a request on the wire. */
  idOf(wire: number): number {
    return this.#byWire.get(wire) ?? wire;
  }

  /** Returns the number of the request that a message answers; undefined for none. */
  answeredBy(message: Envelope): number | undefined {
    return message.kind === 'reply' ? replyNumber(message.bytes, message.id) : undefined;
  }

  /** Adds a request; returns its number on the wire. */
  add(id: number, request: SentRequest): number {
    const before = this.#byId.get(id);
    const wire = before ? this.#nextId() : id;
    if (before) {
      this.#byWire.delete(before.wire);
      this.#byWire.set(wire, id);
    }
    this.#byId.set(id, { wire, request });
    return wire;
  }

  /** Removes an answered request; returns undefined when it was not pending. */
  answered(wire: number): SentRequest | undefined {
    const id = this.idOf(wire);
    const entry = this.#byId.get(id);
    if (entry?.wire !== wire) return undefined;
    this.#byId.set(id, { wire, request: undefined });
    return entry.request;
  }

  /** Returns the method of the pending request with this number. */
  methodOf(wire: number): string | undefined {
    const entry = this.#byId.get(this.idOf(wire));
    return entry?.wire === wire ? entry.request?.method : undefined;
  }

  wireOf(id: number): number {
    return this.#byId.get(id)?.wire ?? id;
  }

  forget(id: number): void {
    const entry = this.#byId.get(id);
    if (entry) this.#byWire.delete(entry.wire);
    this.#byId.delete(id);
  }
}

/**
 * Counts memory of request bodies, in all and for each key (for each address without a key): of those that are
 * arriving, and of requests without an answer. A small body in one piece is not counted: the limits of connections and
 * calls apply to it.
 */
import type { ServerResponse } from 'node:http';
import type { Limits } from '../config/limits.ts';
import { Refusal } from '../model/outcome.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { FairCount, type Taken } from '../runtime/shares.ts';

/** Bodies up to this size that arrive in one piece are not counted. */
export const SMALL_BYTES = 16 * 1024;

export class Bodies {
  readonly #limits: Limits;
  readonly #bytes: FairCount;
  readonly #arriving: FairCount;

  constructor({ runtime, limits }: { readonly runtime: Pick<Runtime, 'ceilings'>; readonly limits: Limits }) {
    this.#limits = limits;
    const { ceilings } = runtime;
    this.#bytes = new FairCount(
      'downstream.body-bytes',
      () => limits.bodiesBytes,
      () => limits.bodiesBytesPerKey,
      'refuse',
      ceilings,
    );
    this.#arriving = new FairCount(
      'downstream.bodies',
      () => limits.openBodies,
      () => limits.openBodiesPerKey,
      'refuse',
      ceilings,
    );
  }

  count(owner: string, response: ServerResponse): BodyCount {
    return new BodyCount(owner, response, this.#bytes, this.#arriving, this.#limits);
  }
}

/** The size of one body. Its bytes are given back when the response closes, or by `release` after `keep`. */
class BodyCount {
  readonly #owner: string;
  readonly #response: ServerResponse;
  readonly #bytes: FairCount;
  readonly #arriving: FairCount;
  readonly #limits: Limits;
  #held = 0;
  #isArriving = false;
  readonly release = (): void => {
    this.#bytes.give(this.#owner, this.#held);
    this.#held = 0;
  };

  constructor(owner: string, response: ServerResponse, bytes: FairCount, arriving: FairCount, limits: Limits) {
    this.#owner = owner;
    this.#response = response;
    this.#bytes = bytes;
    this.#arriving = arriving;
    this.#limits = limits;
  }

  /** Counts the body as arriving; returns a refusal when there are too many. */
  begin(): Refusal | undefined {
    if (this.#isArriving) return undefined;
    const taken = this.#arriving.take(this.#owner);
    if (taken !== 'taken') return this.#refusal(taken, 'openBodies', 'requests whose bodies are still arriving');
    this.#isArriving = true;
    return undefined;
  }

  /** Counts so many bytes in total; returns a refusal when that is too much. */
  holds(bytes: number): Refusal | undefined {
    const more = bytes - this.#held;
    if (more <= 0) return undefined;
    const taken = this.#bytes.take(this.#owner, more);
    if (taken !== 'taken') return this.#refusal(taken, 'bodiesBytes', 'bytes in requests that are not answered yet');
    if (this.#held === 0) this.#response.once('close', this.release);
    this.#held = bytes;
    return undefined;
  }

  /** The body has arrived, or will not arrive. */
  end(): void {
    if (this.#isArriving) this.#arriving.give(this.#owner);
    this.#isArriving = false;
    // A response that is closed already does not report it again.
    if (this.#response.closed) this.release();
  }

  /** Keeps the count beyond the response: returns a function that gives the bytes back. */
  keep(): () => void {
    this.#response.off('close', this.release);
    return this.release;
  }

  #refusal(taken: Exclude<Taken, 'taken'>, name: 'openBodies' | 'bodiesBytes', what: string): Refusal {
    const setting = taken === 'share' ? (`${name}PerKey` as const) : name;
    const whose = taken === 'share' ? `This key or address has more than its share of` : `The hub has too many`;
    const most = this.#limits[setting];
    const detail = { setting, retryAfterMs: 1000 };
    return new Refusal(taken === 'share' ? 'key-busy' : 'overloaded', `${whose} ${what} (${most}).`, detail);
  }
}

export type { BodyCount };

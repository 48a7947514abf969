/**
 * The door before any work: how many calls are inside, in all and for each key, and how fast each key may come.
 * Promises: answers at once; one key cannot take more than its share; refusing costs less than serving; every permit is given back exactly once.
 * Does not: queue. Waiting for a busy server happens at that server's own bulkhead (`upstream/`).
 */
import type { Limits } from '../config/limits.ts';
import { CappedCount, CappedMap } from '../kernel/capped.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { type Outcome, Refusal } from '../kernel/outcome.ts';
import type { Principal } from '../kernel/principal.ts';
import { TokenBucket } from '../resilience/token-bucket.ts';

/** A place inside; `dispose` gives it back (safe to call twice). */
export class Permit implements Disposable {
  #share: KeyShare | undefined;
  readonly #inside: CappedCount;

  constructor(inside: CappedCount, share: KeyShare) {
    this.#inside = inside;
    this.#share = share;
    share.inFlight += 1;
  }

  [Symbol.dispose](): void {
    if (!this.#share) return;
    this.#share.inFlight -= 1;
    this.#share = undefined;
    this.#inside.give();
  }
}

interface KeyShare {
  inFlight: number;
  readonly bucket: TokenBucket;
}

export interface Admission {
  enter(principal: Principal): Outcome<Permit>;
  /** Calls inside now. */
  readonly inside: number;
  /** From now on everything new is refused as `draining`. */
  close(): void;
}

const KEYS_REMEMBERED = 20_000;

export function createAdmission(parts: { kernel: Kernel; limits: Limits }): Admission {
  const { kernel, limits } = parts;
  const inside = new CappedCount('admission.calls', limits.calls, 'refuse', kernel.ceilings);
  const shares = new CappedMap<string, KeyShare>('admission.keys', KEYS_REMEMBERED, 'drop-oldest', kernel.ceilings);
  let closed = false;

  function shareOf(family: string): KeyShare {
    let share = shares.get(family);
    if (!share) {
      share = {
        inFlight: 0,
        bucket: new TokenBucket({
          perSecond: limits.keyPerSecond,
          burst: limits.keyPerSecond,
          nowMs: kernel.clock.nowMs(),
        }),
      };
      shares.set(family, share);
    }
    return share;
  }

  return {
    enter(principal) {
      if (closed) return new Refusal('draining', undefined, { retryAfterMs: 1000 });
      const share = shareOf(principal.family);
      if (share.inFlight >= limits.keyInFlight) {
        return new Refusal(
          'key-busy',
          `This key has ${share.inFlight} calls in flight; the limit is ${limits.keyInFlight}.`,
          { setting: 'keyInFlight', retryAfterMs: 1000 },
        );
      }
      if (!share.bucket.take(kernel.clock.nowMs()))
        return new Refusal('rate-limited', undefined, { setting: 'keyPerSecond', retryAfterMs: 1000 });
      if (!inside.take())
        return new Refusal('overloaded', `${inside.max} calls are inside this hub.`, {
          setting: 'calls',
          retryAfterMs: 1000,
        });
      return new Permit(inside, share);
    },
    get inside() {
      return inside.size;
    },
    close() {
      closed = true;
    },
  };
}

/**
 * Admits calls: limits on calls in flight, in total and for each key, on the rate of each key, and load shedding under
 * pressure.
 * Guarantees: decides synchronously and never queues (each server's bulkhead does, `upstream/`); a key gets at most its
 * limit and, when the hub is nearly full, its fair share; a refusal costs less than a call; each permit is released
 * exactly once.
 */
import type { Limits } from '../config/limits.ts';
import { type Outcome, Refusal } from '../model/outcome.ts';
import type { Principal } from '../model/principal.ts';
import { TokenBucket } from '../resilience/token-bucket.ts';
import { CappedCount, CappedMap } from '../runtime/capped.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { PressureLevel } from './pressure.ts';

/** A call in flight; `dispose` releases it (idempotent). */
export class Permit implements Disposable {
  #share: KeyShare | undefined;
  readonly #onReleased: (inFlight: number) => void;

  /**
   * `onReleased` receives the number of calls of the key still in flight. Without a share the permit counts no call.
   */
  constructor(share: KeyShare | undefined, onReleased: (inFlight: number) => void) {
    this.#onReleased = onReleased;
    this.#share = share;
    if (share) share.inFlight += 1;
  }

  [Symbol.dispose](): void {
    if (!this.#share) return;
    this.#share.inFlight -= 1;
    const { inFlight } = this.#share;
    this.#share = undefined;
    this.#onReleased(inFlight);
  }
}

interface KeyShare {
  inFlight: number;
  readonly bucket: TokenBucket;
}

/**
 * What is known of a message before its body is parsed. `unknown`: it may end a call, so only the rate limit applies.
 * `large`: the same, but its body has not been read, and is not read while the hub sheds load. `call`: it ends none, so
 * all limits apply. `work`: like `call`, and it may be shed.
 */
export type MessageKind = 'unknown' | 'large' | 'call' | 'work';

export interface Admission {
  /**
   * `method`: as sent by the client; undefined = a reply. `owner`: whose share it is charged to; default: the key's
   * family.
   */
  admit(principal: Principal, method: string | undefined, owner?: string): Outcome<Permit>;
  /**
   * Counts a request that is not a call (GET, DELETE) against the owner's rate. Returns the refusal when the rate is
   * exceeded.
   */
  countRequest(owner: string): Refusal | undefined;
  /**
   * Returns the refusal that a message of this owner would get; takes no permit. Mostly the same object, so that
   * responses can be prepared once.
   */
  refusalFor(owner: string, kind: MessageKind): Refusal | undefined;
  /** Number of calls in flight. */
  readonly inFlight: number;
  /** Refuses everything new as `draining` from now on. */
  close(): void;
}

const MAX_KEYS = 20_000;
/** Above this part of `calls`, a key gets only its fair share. */
const FAIR_SHARE_THRESHOLD = 0.75;
const RETRY_AFTER_MS = 1000;
/** Methods that end work or cost none are never shed. */
const NEVER_SHED: ReadonlySet<string> = new Set(['notifications/cancelled', 'notifications/initialized', 'ping']);

/** These end a call in flight. */
const ENDS_CALLS: ReadonlySet<string> = new Set(['notifications/cancelled']);

/** Returns a function that creates a new refusal only when its figure changes. */
function memoized(make: (figure: number) => Refusal): (figure: number) => Refusal {
  let last: { readonly figure: number; readonly refusal: Refusal } | undefined;
  return (figure) => {
    if (last?.figure !== figure) last = { figure, refusal: make(figure) };
    return last.refusal;
  };
}

function overloaded(message: string): Refusal {
  return new Refusal('overloaded', message, { setting: 'calls', retryAfterMs: RETRY_AFTER_MS });
}

export function createAdmission(parts: {
  runtime: Runtime;
  limits: Limits;
  /** Returns the current pressure, read for each call; absent = always calm. */
  pressure?: () => PressureLevel;
}): Admission {
  const { runtime, limits, pressure = () => 'calm' } = parts;
  const inside = new CappedCount('admission.calls', () => limits.calls, 'refuse', runtime.ceilings);
  // Owners with calls in flight are kept: an evicted one would get a second share. So it does not shrink with `calls`.
  let most = MAX_KEYS;
  const owners = (): number => {
    most = Math.max(most, 2 * limits.calls);
    return most;
  };
  const evictedBusy: [string, KeyShare][] = []; // bounded by: one, the owner just evicted
  const shares = new CappedMap<string, KeyShare>(
    'admission.keys',
    owners,
    'drop-oldest',
    runtime.ceilings,
    (owner, one) => {
      if (one.inFlight > 0) evictedBusy.push([owner, one]);
    },
  );
  const keyBusy = memoized((max) => {
    const message = `This key has ${max} calls in flight, which is the limit.`;
    return new Refusal('key-busy', message, { setting: 'keyInFlight', retryAfterMs: 1000 });
  });
  const aboveFairShare = memoized((count) =>
    overloaded(`The hub is nearly full, and this key has ${count} calls in flight.`),
  );
  const full = memoized((max) => overloaded(`The hub has ${max} calls in flight, which is the limit.`));
  const sheddingRefusal = new Refusal(
    'overloaded',
    'The hub is overloaded (memory or event loop delay) and refuses new work; retry shortly.',
    {
      retryAfterMs: RETRY_AFTER_MS,
    },
  );
  const draining = new Refusal('draining', undefined, { retryAfterMs: 1000 });
  const rateLimited = new Refusal('rate-limited', undefined, { setting: 'keyPerSecond', retryAfterMs: 1000 });
  let closed = false;
  /** Number of keys with calls in flight. */
  let active = 0;

  function release(inFlight: number): void {
    if (inFlight === 0) active -= 1;
    inside.give();
  }

  /** Under high pressure only anonymous `initialize` requests are shed: each brings further requests. */
  function isShed(principal: Principal, method: string | undefined): boolean {
    const level = pressure();
    if (level === 'calm' || method === undefined || NEVER_SHED.has(method)) return false;
    return level === 'shedding' || (method === 'initialize' && principal.role === 'anonymous');
  }

  function isAboveFairShare(share: KeyShare): boolean {
    if (inside.size < inside.max * FAIR_SHARE_THRESHOLD) return false;
    const others = share.inFlight > 0 ? active : active + 1;
    return share.inFlight >= Math.max(1, Math.floor(inside.max / Math.max(1, others)));
  }

  function storeShare(owner: string, share: KeyShare): void {
    shares.set(owner, share);
    for (let pushed = evictedBusy.pop(); pushed; pushed = evictedBusy.pop()) shares.set(...pushed);
  }

  function shareOf(owner: string): KeyShare {
    let share = shares.get(owner);
    if (!share) {
      share = {
        inFlight: 0,
        bucket: new TokenBucket({
          perSecond: limits.keyPerSecond,
          burst: limits.keyPerSecond,
          nowMs: runtime.clock.nowMs(),
        }),
      };
      storeShare(owner, share);
    }
    return atCurrentRate(share);
  }

  function atCurrentRate(share: KeyShare): KeyShare {
    share.bucket.setRate(limits.keyPerSecond, limits.keyPerSecond);
    return share;
  }

  function busyRefusal(share: KeyShare): Refusal | undefined {
    return share.inFlight < limits.keyInFlight ? undefined : keyBusy(limits.keyInFlight);
  }

  /** Returns undefined when the owner may start a call. */
  function placeRefusal(share: KeyShare | undefined): Refusal | undefined {
    if (share !== undefined && isAboveFairShare(share)) return aboveFairShare(share.inFlight);
    if (inside.size < inside.max) return undefined;
    inside.take(); // records the overflow
    return full(inside.max);
  }

  return {
    countRequest: (owner) => (shareOf(owner).bucket.take(runtime.clock.nowMs()) ? undefined : rateLimited),
    refusalFor(owner, kind) {
      if (closed) return draining;
      if ((kind === 'work' || kind === 'large') && pressure() === 'shedding') return sheddingRefusal;
      const isCall = kind === 'call' || kind === 'work';
      const known = shares.get(owner);
      const share = known && atCurrentRate(known);
      const busy = isCall && share !== undefined ? busyRefusal(share) : undefined;
      if (busy) return busy;
      if (share !== undefined && !share.bucket.hadToken && !share.bucket.has(runtime.clock.nowMs())) return rateLimited;
      return isCall ? placeRefusal(share) : undefined;
    },
    admit(principal, method, owner = principal.family) {
      if (closed) return draining;
      if (isShed(principal, method)) return sheddingRefusal;
      const share = shareOf(owner);
      // A reply or a cancellation ends a call in flight: refusing it would keep the permit.
      const isCall = method !== undefined && !ENDS_CALLS.has(method);
      const refusal = isCall ? busyRefusal(share) : undefined;
      if (refusal) return refusal;
      if (!share.bucket.take(runtime.clock.nowMs())) return rateLimited;
      if (!isCall) return new Permit(undefined, release);
      const noPlace = placeRefusal(share);
      if (noPlace) return noPlace;
      inside.take();
      if (share.inFlight === 0) active += 1;
      return new Permit(share, release);
    },
    get inFlight() {
      return inside.size;
    },
    close() {
      closed = true;
    },
  };
}

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

export interface AdmissionParts {
  readonly runtime: Runtime;
  readonly limits: Limits;
  /** Returns the current pressure, read for each call; absent = always calm. */
  readonly pressure?: () => PressureLevel;
}

export class Admission {
  readonly #runtime: Runtime;
  readonly #limits: Limits;
  readonly #pressure: () => PressureLevel;
  readonly #inside: CappedCount;
  /**
   * Owners with calls in flight are kept: an evicted owner would get a second share. So it does not shrink with
   * `calls`.
   */
  #mostOwners = MAX_KEYS;
  readonly #evictedBusy: [string, KeyShare][] = []; // bounded by: one, the owner just evicted
  readonly #shares: CappedMap<string, KeyShare>;
  readonly #keyBusy = memoized((max) => {
    const message = `This key has ${max} calls in flight, which is the limit.`;
    return new Refusal('key-busy', message, { setting: 'keyInFlight', retryAfterMs: 1000 });
  });
  readonly #aboveFairShare = memoized((count) =>
    overloaded(`The hub is nearly full, and this key has ${count} calls in flight.`),
  );
  readonly #full = memoized((max) => overloaded(`The hub has ${max} calls in flight, which is the limit.`));
  readonly #sheddingRefusal = new Refusal(
    'overloaded',
    'The hub is overloaded (memory or event loop delay) and refuses new work; retry shortly.',
    { retryAfterMs: RETRY_AFTER_MS },
  );
  readonly #draining = new Refusal('draining', undefined, { retryAfterMs: 1000 });
  readonly #rateLimited = new Refusal('rate-limited', undefined, { setting: 'keyPerSecond', retryAfterMs: 1000 });
  #closed = false;
  /** Number of keys with calls in flight. */
  #active = 0;

  constructor({ runtime, limits, pressure = () => 'calm' }: AdmissionParts) {
    this.#runtime = runtime;
    this.#limits = limits;
    this.#pressure = pressure;
    this.#inside = new CappedCount('admission.calls', () => limits.calls, 'refuse', runtime.ceilings);
    this.#shares = new CappedMap(
      'admission.keys',
      () => this.#maxOwners(),
      'drop-oldest',
      runtime.ceilings,
      (owner, share) => {
        if (share.inFlight > 0) this.#evictedBusy.push([owner, share]);
      },
    );
  }

  /** Number of calls in flight. */
  get inFlight(): number {
    return this.#inside.size;
  }

  /**
   * Counts a request that is not a call (GET, DELETE) against the owner's rate. Returns the refusal when the rate is
   * exceeded.
   */
  countRequest(owner: string): Refusal | undefined {
    return this.#shareOf(owner).bucket.take(this.#runtime.clock.nowMs()) ? undefined : this.#rateLimited;
  }

  /**
   * Returns the refusal that a message of this owner would get; takes no permit. Mostly the same object, so that
   * responses can be prepared once.
   */
  refusalFor(owner: string, kind: MessageKind): Refusal | undefined {
    if (this.#closed) return this.#draining;
    if ((kind === 'work' || kind === 'large') && this.#pressure() === 'shedding') return this.#sheddingRefusal;
    const isCall = kind === 'call' || kind === 'work';
    const known = this.#shares.get(owner);
    const share = known && this.#atCurrentRate(known);
    const busy = isCall && share !== undefined ? this.#busyRefusal(share) : undefined;
    if (busy) return busy;
    if (share !== undefined && !share.bucket.hadToken && !share.bucket.has(this.#runtime.clock.nowMs()))
      return this.#rateLimited;
    return isCall ? this.#placeRefusal(share) : undefined;
  }

  /**
   * `method`: as sent by the client; undefined = a reply. `owner`: whose share it is charged to; default: the key's
   * family.
   */
  admit(principal: Principal, method: string | undefined, owner: string = principal.family): Outcome<Permit> {
    if (this.#closed) return this.#draining;
    if (this.#isShed(principal, method)) return this.#sheddingRefusal;
    const share = this.#shareOf(owner);
    // A reply or a cancellation ends a call in flight: refusing it would keep the permit.
    const isCall = method !== undefined && !ENDS_CALLS.has(method);
    const refusal = isCall ? this.#busyRefusal(share) : undefined;
    if (refusal) return refusal;
    if (!share.bucket.take(this.#runtime.clock.nowMs())) return this.#rateLimited;
    if (!isCall) return new Permit(undefined, this.#release);
    const noPlace = this.#placeRefusal(share);
    if (noPlace) return noPlace;
    this.#inside.take();
    if (share.inFlight === 0) this.#active += 1;
    return new Permit(share, this.#release);
  }

  /** Refuses everything new as `draining` from now on. */
  close(): void {
    this.#closed = true;
  }

  /** Returns the maximum number of owners, which only rises. */
  #maxOwners(): number {
    this.#mostOwners = Math.max(this.#mostOwners, 2 * this.#limits.calls);
    return this.#mostOwners;
  }

  /** One function for all permits: a call must not allocate its own. */
  readonly #release = (inFlight: number): void => {
    if (inFlight === 0) this.#active -= 1;
    this.#inside.give();
  };

  /** Under high pressure only anonymous `initialize` requests are shed: each brings further requests. */
  #isShed(principal: Principal, method: string | undefined): boolean {
    const level = this.#pressure();
    if (level === 'calm' || method === undefined || NEVER_SHED.has(method)) return false;
    return level === 'shedding' || (method === 'initialize' && principal.role === 'anonymous');
  }

  #isAboveFairShare(share: KeyShare): boolean {
    if (this.#inside.size < this.#inside.max * FAIR_SHARE_THRESHOLD) return false;
    const others = share.inFlight > 0 ? this.#active : this.#active + 1;
    return share.inFlight >= Math.max(1, Math.floor(this.#inside.max / Math.max(1, others)));
  }

  #storeShare(owner: string, share: KeyShare): void {
    this.#shares.set(owner, share);
    for (let pushed = this.#evictedBusy.pop(); pushed; pushed = this.#evictedBusy.pop()) this.#shares.set(...pushed);
  }

  #shareOf(owner: string): KeyShare {
    let share = this.#shares.get(owner);
    if (!share) {
      share = {
        inFlight: 0,
        bucket: new TokenBucket({
          perSecond: this.#limits.keyPerSecond,
          burst: this.#limits.keyPerSecond,
          nowMs: this.#runtime.clock.nowMs(),
        }),
      };
      this.#storeShare(owner, share);
    }
    return this.#atCurrentRate(share);
  }

  #atCurrentRate(share: KeyShare): KeyShare {
    share.bucket.setRate(this.#limits.keyPerSecond, this.#limits.keyPerSecond);
    return share;
  }

  #busyRefusal(share: KeyShare): Refusal | undefined {
    return share.inFlight < this.#limits.keyInFlight ? undefined : this.#keyBusy(this.#limits.keyInFlight);
  }

  /** Returns undefined when the owner may start a call. */
  #placeRefusal(share: KeyShare | undefined): Refusal | undefined {
    if (share !== undefined && this.#isAboveFairShare(share)) return this.#aboveFairShare(share.inFlight);
    if (this.#inside.size < this.#inside.max) return undefined;
    this.#inside.take(); // records the overflow
    return this.#full(this.#inside.max);
  }
}

/**
 * The door before any work: how many calls are inside, in all and for each key, how fast each key may come, and what is shed under pressure.
 * Promises: answers at once; one key cannot take more than its limit, nor, when the hub is nearly full, more than its fair share; refusing costs
 * less than serving; every permit is given back exactly once.
 * Does not: queue. Waiting for a busy server happens at that server's own bulkhead (`upstream/`).
 */
import type { Limits } from '../config/limits.ts';
import { CappedCount, CappedMap } from '../kernel/capped.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { type Outcome, Refusal } from '../kernel/outcome.ts';
import type { Principal } from '../kernel/principal.ts';
import { TokenBucket } from '../resilience/token-bucket.ts';
import type { PressureLevel } from './pressure.ts';

/** A place inside; `dispose` gives it back (safe to call twice). */
export class Permit implements Disposable {
  #share: KeyShare | undefined;
  readonly #given: (inFlight: number) => void;

  /** `given` hears that it was given back, and how many calls of the key are inside yet. Without a share it holds no place. */
  constructor(share: KeyShare | undefined, given: (inFlight: number) => void) {
    this.#given = given;
    this.#share = share;
    if (share) share.inFlight += 1;
  }

  [Symbol.dispose](): void {
    if (!this.#share) return;
    this.#share.inFlight -= 1;
    const { inFlight } = this.#share;
    this.#share = undefined;
    this.#given(inFlight);
  }
}

interface KeyShare {
  inFlight: number;
  readonly bucket: TokenBucket;
}

/**
 * What is known of a message before it is parsed. `unknown`: it may end a call, and is refused by the rate only. `large`: the same, but its body has
 * not been read and is not while the hub sheds. `call`: it ends none, and is refused by limits. `work`: it is also none of those that are never shed.
 */
export type MessageKind = 'unknown' | 'large' | 'call' | 'work';

export interface Admission {
  /** `method` as the client sent it; undefined = a reply. `owner` = whose share it is counted for; default: the key's family. */
  enter(principal: Principal, method: string | undefined, owner?: string): Outcome<Permit>;
  /** Takes a token of the owner's rate for a request that is no call (GET, DELETE); refused by the rate alone, as it ends or brings no work. */
  countRequest(owner: string): Refusal | undefined;
  /** The refusal that a message of this owner would get, or undefined. Takes no permit. Mostly the same object, so that its answer can be prepared once. */
  refusalFor(owner: string, kind: MessageKind): Refusal | undefined;
  /** Calls inside now. */
  readonly inside: number;
  /** From now on everything new is refused as `draining`. */
  close(): void;
}

const KEYS_REMEMBERED = 20_000;
/** From this part of `calls` on a key gets its fair share only. */
const NEARLY_FULL = 0.75;
const OVERLOADED_MS = 1000;
/** What ends work or costs none is never shed. */
const NEVER_SHED: ReadonlySet<string> = new Set(['notifications/cancelled', 'notifications/initialized', 'ping']);

/** Answered or called off, a call gives its place back. */
const ENDS_CALLS: ReadonlySet<string> = new Set(['notifications/cancelled']);

/** Returns a function that makes a refusal anew only when its figure has changed. */
function remembered(make: (figure: number) => Refusal): (figure: number) => Refusal {
  let last: { readonly figure: number; readonly refusal: Refusal } | undefined;
  return (figure) => {
    if (last?.figure !== figure) last = { figure, refusal: make(figure) };
    return last.refusal;
  };
}

function overloaded(message: string): Refusal {
  return new Refusal('overloaded', message, { setting: 'calls', retryAfterMs: OVERLOADED_MS });
}

export function createAdmission(parts: {
  kernel: Kernel;
  limits: Limits;
  /** How hard the hub is pressed, read anew for each call; absent = never. */
  pressure?: () => PressureLevel;
}): Admission {
  const { kernel, limits, pressure = () => 'calm' } = parts;
  const inside = new CappedCount('admission.calls', limits.calls, 'refuse', kernel.ceilings);
  // Owners with a call inside stay, so that nobody gets a second share by being forgotten.
  const owners = Math.max(KEYS_REMEMBERED, 2 * limits.calls);
  const busy: [string, KeyShare][] = []; // bounded by: one, the owner just pushed out
  const shares = new CappedMap<string, KeyShare>(
    'admission.keys',
    owners,
    'drop-oldest',
    kernel.ceilings,
    (owner, one) => {
      if (one.inFlight > 0) busy.push([owner, one]);
    },
  );
  const keyBusy = remembered((max) => {
    const message = `This key has ${max} calls in flight, which is the limit.`;
    return new Refusal('key-busy', message, { setting: 'keyInFlight', retryAfterMs: 1000 });
  });
  const greedy = remembered((count) => overloaded(`This hub is nearly full; this key has ${count} calls inside.`));
  const full = remembered((max) => overloaded(`${max} calls are inside this hub.`));
  const shed = new Refusal('overloaded', 'This hub is short of memory or late; it takes new work again soon.', {
    retryAfterMs: OVERLOADED_MS,
  });
  const draining = new Refusal('draining', undefined, { retryAfterMs: 1000 });
  const rateLimited = new Refusal('rate-limited', undefined, { setting: 'keyPerSecond', retryAfterMs: 1000 });
  let closed = false;
  /** Keys with a call inside. */
  let active = 0;

  function given(inFlight: number): void {
    if (inFlight === 0) active -= 1;
    inside.give();
  }

  /** An initialize of somebody unknown goes first: it brings all the rest with it. */
  function isShed(principal: Principal, method: string | undefined): boolean {
    const level = pressure();
    if (level === 'calm' || method === undefined || NEVER_SHED.has(method)) return false;
    return level === 'shedding' || (method === 'initialize' && principal.role === 'anonymous');
  }

  function isGreedy(share: KeyShare): boolean {
    if (inside.size < inside.max * NEARLY_FULL) return false;
    const others = share.inFlight > 0 ? active : active + 1;
    return share.inFlight >= Math.max(1, Math.floor(inside.max / Math.max(1, others)));
  }

  function remember(owner: string, share: KeyShare): void {
    shares.set(owner, share);
    for (let pushed = busy.pop(); pushed; pushed = busy.pop()) shares.set(...pushed);
  }

  function shareOf(owner: string): KeyShare {
    let share = shares.get(owner);
    if (!share) {
      share = {
        inFlight: 0,
        bucket: new TokenBucket({
          perSecond: limits.keyPerSecond,
          burst: limits.keyPerSecond,
          nowMs: kernel.clock.nowMs(),
        }),
      };
      remember(owner, share);
    }
    return share;
  }

  function busyOf(share: KeyShare): Refusal | undefined {
    return share.inFlight < limits.keyInFlight ? undefined : keyBusy(limits.keyInFlight);
  }

  /** Undefined = there is a place for a call of this owner. */
  function placeRefusal(share: KeyShare | undefined): Refusal | undefined {
    if (share !== undefined && isGreedy(share)) return greedy(share.inFlight);
    if (inside.size < inside.max) return undefined;
    inside.take(); // counts the overflow
    return full(inside.max);
  }

  return {
    countRequest: (owner) => (shareOf(owner).bucket.take(kernel.clock.nowMs()) ? undefined : rateLimited),
    refusalFor(owner, kind) {
      if (closed) return draining;
      if ((kind === 'work' || kind === 'large') && pressure() === 'shedding') return shed;
      const isCall = kind === 'call' || kind === 'work';
      const share = shares.get(owner);
      const busy = isCall && share !== undefined ? busyOf(share) : undefined;
      if (busy) return busy;
      if (share !== undefined && !share.bucket.hadToken && !share.bucket.has(kernel.clock.nowMs())) return rateLimited;
      return isCall ? placeRefusal(share) : undefined;
    },
    enter(principal, method, owner = principal.family) {
      if (closed) return draining;
      if (isShed(principal, method)) return shed;
      const share = shareOf(owner);
      // A reply or a cancellation ends a call that is inside: refusing it would keep the place.
      const isCall = method !== undefined && !ENDS_CALLS.has(method);
      const refusal = isCall ? busyOf(share) : undefined;
      if (refusal) return refusal;
      if (!share.bucket.take(kernel.clock.nowMs())) return rateLimited;
      if (!isCall) return new Permit(undefined, given);
      const noPlace = placeRefusal(share);
      if (noPlace) return noPlace;
      inside.take();
      if (share.inFlight === 0) active += 1;
      return new Permit(share, given);
    },
    get inside() {
      return inside.size;
    },
    close() {
      closed = true;
    },
  };
}

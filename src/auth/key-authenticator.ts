/**
 * Resolves an Authorization header to a principal, from memory. The key table is rebuilt with each snapshot.
 * `access.ts` checks paths and groups, `control/` creates keys.
 * Guarantees: identity comes from the verified key alone; a revoked or expired key is refused from the next request on;
 * wrong keys from one address are rate limited (429) before they cost anything.
 */
import { hash } from 'node:crypto';
import type { Limits } from '../config/limits.ts';
import { isRefusal, type Outcome, Refusal } from '../model/outcome.ts';
import { ANONYMOUS_PRINCIPAL, type Principal, shareOf } from '../model/principal.ts';
import type { KeyRecord, SnapshotHolder } from '../model/snapshot.ts';
import { TokenBucket } from '../resilience/token-bucket.ts';
import { CappedMap } from '../runtime/capped.ts';
import { NetworkMap } from '../runtime/network-map.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { RefusedKeys } from './_refused-keys.ts';
import { describeMalformedKey } from './malformed-key.ts';

const KEY_PATTERN = /^Bearer +(mcphub_[0-9a-f]{64})$/i;
/** `Bearer `, `mcphub_` and 64 digits are 78 characters; a longer header cannot contain a key in any spelling. */
const MAX_HEADER_CHARS = 256;
const TOO_LONG = `The Authorization header is longer than ${MAX_HEADER_CHARS} characters and holds no key.`;
const PREFIX_LENGTH = 15;
const TOO_MANY =
  'Too many requests without a valid key from this address. If it is a reverse proxy, list it in settings.trustedProxies.';
/** Cached headers with their result, one spelling per key: at most 2 MB. A hit costs 5 ns instead of a hash. */
const SEEN_HEADERS = 20_000;
/** Cached wrong headers with their prepared refusal, at most 2 MB: a misconfigured client repeats the same header. */
const WRONG_HEADERS = 1000;

export interface KeyAuthenticatorParts {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly snapshots: SnapshotHolder;
}

export class KeyAuthenticator {
  readonly #parts: KeyAuthenticatorParts;
  /** Keys of the snapshot, by their hash. */
  #ring: ReadonlyMap<string, KeyRecord>; // bounded by: the keys of the snapshot;
  readonly #seen: CappedMap<string, Principal>;
  readonly #used: CappedMap<string, true>;
  readonly #wrong: CappedMap<string, Refusal>;
  readonly #guesses: NetworkMap<Guesses>;
  readonly #refused: RefusedKeys;
  // The same objects each time, so that their responses are prepared once (`downstream/refusal-writer.ts`).
  readonly #missing = new Refusal('unauthorized');
  readonly #tooMany: Readonly<Record<'wrong' | 'bare', Refusal>> = {
    wrong: new Refusal('rate-limited', TOO_MANY, { retryAfterMs: 6000, setting: 'failedKeysPerMinute' }),
    bare: new Refusal('rate-limited', TOO_MANY, { retryAfterMs: 1000, setting: 'addressPerSecond' }),
  };

  constructor(parts: KeyAuthenticatorParts) {
    const { snapshots, runtime, limits } = parts;
    this.#parts = parts;
    this.#ring = ringFrom(snapshots.current.keys);
    this.#seen = new CappedMap('auth.headers', SEEN_HEADERS, 'drop-oldest', runtime.ceilings);
    this.#used = new CappedMap('auth.used', SEEN_HEADERS, 'drop-oldest', runtime.ceilings);
    this.#wrong = new CappedMap('auth.wrong-headers', WRONG_HEADERS, 'drop-oldest', runtime.ceilings);
    this.#guesses = new NetworkMap(
      new CappedMap('auth.addresses', () => limits.addresses, 'drop-oldest', runtime.ceilings),
      () => this.#newGuesses(),
    );
    this.#refused = new RefusedKeys(runtime);
    snapshots.onSwap((now, before) => {
      if (now.keys === before.keys) return;
      this.#ring = ringFrom(now.keys);
      this.#seen.clear();
      this.#wrong.clear();
    });
  }

  /** Checks a header. `address` is the peer's address, for rate limiting of wrong keys. */
  check(authorization: string | undefined, address: string): Outcome<Principal> {
    const { snapshots, runtime } = this.#parts;
    if (authorization === undefined) return this.#refuse(address, 'bare', this.#missingKey);
    // The worker started from disk without trusted keys: a 401 would wrongly say that the key is invalid.
    if (snapshots.current.keysRevision === 0) return new Refusal('starting', undefined, { retryAfterMs: 1000 });
    const principal = this.#seen.get(authorization) ?? this.#lookUp(authorization, address);
    if (isRefusal(principal)) return principal;
    if (principal.expiresAtMs !== undefined && runtime.clock.wallMs() >= principal.expiresAtMs)
      return new Refusal('key-expired');
    if (!this.#used.has(principal.keyId)) this.#used.set(principal.keyId, true);
    return principal;
  }

  /**
   * Returns the id of the share that the sender counts to: its principal when the header was accepted before, otherwise
   * its network. Does not check the key.
   */
  shareOf(authorization: string | undefined, address: string): string {
    const known = authorization === undefined ? undefined : this.#seen.get(authorization);
    return shareOf(known ?? ANONYMOUS_PRINCIPAL, address);
  }

  /** Returns the ids of keys used since the last call. */
  takeUsed(): string[] {
    const ids = [...this.#used.keys()];
    this.#used.clear();
    return ids;
  }

  #newGuesses(): Guesses {
    const { limits, runtime } = this.#parts;
    const { failedKeysPerMinute, addressPerSecond } = limits;
    const nowMs = runtime.clock.nowMs();
    return {
      wrong: new TokenBucket({ perSecond: failedKeysPerMinute / 60, burst: failedKeysPerMinute, nowMs }),
      bare: new TokenBucket({ perSecond: addressPerSecond, burst: addressPerSecond, nowMs }),
      announcedMs: Number.NEGATIVE_INFINITY,
    };
  }

  /** Returns the refusal for a wrong or missing key; 429 when this address sends too many. */
  #refuse(address: string, kind: 'wrong' | 'bare', why: () => Refusal): Refusal {
    const { runtime, limits } = this.#parts;
    const nowMs = runtime.clock.nowMs();
    const sender = this.#guesses.of(address);
    const { failedKeysPerMinute, addressPerSecond } = limits;
    sender.wrong.setRate(failedKeysPerMinute / 60, failedKeysPerMinute);
    sender.bare.setRate(addressPerSecond, addressPerSecond);
    const refusal = sender[kind].take(nowMs) ? why() : this.#tooMany[kind];
    this.#refused.note(refusal.code, { address, sender }, nowMs);
    return refusal;
  }

  readonly #missingKey = (): Refusal => this.#missing;

  #refuseWrong(authorization: string, address: string, message: () => string): Refusal {
    return this.#refuse(address, 'wrong', () => {
      const refusal = new Refusal('unauthorized', message());
      if (authorization.length <= MAX_HEADER_CHARS) this.#wrong.set(authorization, refusal);
      return refusal;
    });
  }

  #lookUp(authorization: string, address: string): Outcome<Principal> {
    const { runtime } = this.#parts;
    const knownWrong = this.#wrong.get(authorization);
    if (knownWrong) return this.#refuse(address, 'wrong', () => knownWrong);
    if (authorization.length > MAX_HEADER_CHARS) return this.#refuseWrong(authorization, address, () => TOO_LONG);
    const key = KEY_PATTERN.exec(authorization)?.[1]?.toLowerCase();
    if (!key) return this.#refuseWrong(authorization, address, () => describeMalformedKey(authorization));
    const header = `Bearer ${key}`;
    const known = this.#seen.get(header);
    if (known) return known;
    const record = this.#ring.get(hash('sha256', key, 'hex'));
    if (!record) return this.#refuseWrong(authorization, address, () => unknownKey(key));
    const principal = principalFrom(record);
    this.#seen.set(header, principal);
    runtime.bus.publish({
      type: 'key-accepted',
      user: record.userName,
      keyName: record.name,
      keyPrefix: record.prefix,
    });
    return principal;
  }
}

/** Wrong keys of one address, or of one IPv6 network, in which a host may choose its address. */
interface Guesses {
  readonly wrong: TokenBucket;
  readonly bare: TokenBucket;
  /** Used by `_refused-keys.ts`. */
  announcedMs: number;
}

function unknownKey(key: string): string {
  return `No key ${key.slice(0, PREFIX_LENGTH)}… exists; it may have been revoked.`;
}

function ringFrom(keys: readonly KeyRecord[]): ReadonlyMap<string, KeyRecord> {
  return new Map(keys.map((key) => [key.hash, key]));
}

function principalFrom(key: KeyRecord): Principal {
  return {
    userId: key.userId,
    userName: key.userName,
    family: key.family,
    keyId: key.id,
    keyName: key.name,
    role: key.role,
    groups: key.groups,
    expiresAtMs: key.expiresAtMs,
  };
}

/**
 * Creates, lists, rotates and revokes keys. `auth/key-authenticator.ts` checks the keys of requests.
 * Guarantees: a change is on disk when the method returns, and sent to workers within 50 ms; the secret is only in the
 * result of `create` or `rotate`; a rotated key keeps its family (its sessions continue), role, groups and expiry.
 */
import { createHash, randomBytes } from 'node:crypto';
import { HubError } from '../model/errors.ts';
import { isRefusal, type Outcome, Refusal } from '../model/outcome.ts';
import type { Role } from '../model/snapshot.ts';
import type { Deadline } from '../runtime/deadline.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { addKey, type KeyWrite, revokeKey, type StoredKey, updateLastUsed } from '../store/keys.ts';
import type { Store } from '../store/store.ts';
import type { ControlState } from './control-state.ts';
import { findBySlugOrName } from './slugs.ts';

export const KEY_PATTERN = /^mcphub_[0-9a-f]{64}$/;
const PREFIX_LENGTH = 15;
/** `mcphub_` and four digits. Shorter prefixes match other keys too easily. */
const SHORTEST_PREFIX = 11;
const NAME_LENGTH = 100;
const LAST_USED_TIMEOUT_MS = 5000;
const OWNER_WITH_GROUPS =
  'An owner key has access to everything and cannot be limited to groups. Omit the groups, or use the role member.';

export interface NewKey {
  readonly user: string;
  readonly name: string;
  readonly role: Role;
  /** Names or slugs of groups; undefined = all. */
  readonly groups: readonly string[] | undefined;
  /** Wall clock ms; undefined = never. */
  readonly expiresAtMs: number | undefined;
  /** Must match `KEY_PATTERN`; absent = a random secret. */
  readonly secret?: string;
}

export interface CreatedKey {
  readonly key: StoredKey;
  readonly secret: string;
}

export function newSecret(): string {
  return `mcphub_${randomBytes(32).toString('hex')}`;
}

export interface KeysParts {
  readonly runtime: Runtime;
  readonly store: Store;
  readonly state: ControlState;
  /** Called after each change. */
  readonly onChanged: () => void;
}

export class Keys {
  readonly #parts: KeysParts;

  constructor(parts: KeysParts) {
    this.#parts = parts;
  }

  list(): readonly StoredKey[] {
    const { state } = this.#parts;
    return state.keys;
  }

  async create(newKey: NewKey, actor: string, deadline: Deadline): Promise<Outcome<CreatedKey>> {
    const { runtime } = this.#parts;
    for (const [what, text] of [
      ['user', newKey.user],
      ['name', newKey.name],
    ] as const) {
      if (!isName(text))
        return new Refusal('invalid-request', `${what} must be 1 to ${NAME_LENGTH} printable characters.`);
    }
    if (newKey.expiresAtMs !== undefined && newKey.expiresAtMs <= runtime.clock.wallMs()) {
      return new Refusal('invalid-request', 'expiresAtMs is in the past.');
    }
    if (newKey.role === 'owner' && newKey.groups !== undefined)
      return new Refusal('invalid-request', OWNER_WITH_GROUPS);
    const groups = this.#groupSlugs(newKey.groups);
    if (isRefusal(groups)) return groups;
    return this.#createKey({ ...newKey, groups }, { family: newId('f'), actor }, deadline);
  }

  /** `id`: a key id, or a prefix that matches exactly one valid key. */
  async rotate(id: string, actor: string, deadline: Deadline): Promise<Outcome<CreatedKey>> {
    const old = this.#findKey(id);
    if (isRefusal(old)) return old;
    if (old.revokedAtMs !== undefined) return new Refusal('invalid-request', 'This key is revoked; create a new one.');
    const { userName: user, name, role, groups, expiresAtMs } = old;
    return this.#createKey(
      { user, name, role, groups, expiresAtMs },
      { family: old.family, actor: actor, replaces: old.id },
      deadline,
    );
  }

  async revoke(id: string, actor: string, deadline: Deadline): Promise<Outcome<StoredKey>> {
    const { state, onChanged } = this.#parts;
    const old = this.#findKey(id);
    if (isRefusal(old)) return old;
    const revoked = await this.#persistRevocation(old, actor, deadline);
    if (!revoked) return new Refusal('not-found', 'Key not found.');
    state.putKey(revoked);
    onChanged();
    if (old.revokedAtMs === undefined) this.#publishEvent('key-revoked', revoked);
    return revoked;
  }

  /** Records the time of last use; written in the background. */
  recordUse(ids: readonly string[]): void {
    const { runtime, state, store } = this.#parts;
    const atMs = runtime.clock.wallMs();
    const wanted = new Set(ids);
    const known = state.keys.filter(({ id }) => wanted.has(id)).map(({ id }) => id);
    if (known.length === 0) return;
    state.keys = state.keys.map((key) => (wanted.has(key.id) ? { ...key, lastUsedAtMs: atMs } : key));
    runtime.scope.run('record key use', async () => {
      using deadline = runtime.deadline(LAST_USED_TIMEOUT_MS);
      await updateLastUsed(store, known, atMs, deadline);
    });
  }

  async #createKey(
    newKey: NewKey,
    context: { readonly family: string; readonly actor: string; readonly replaces?: string },
    deadline: Deadline,
  ): Promise<CreatedKey> {
    const { runtime, store, state, onChanged } = this.#parts;
    const secret = newKey.secret ?? newSecret();
    const { user: userName, name, role, groups, expiresAtMs } = newKey;
    const nowMs = runtime.clock.wallMs();
    const row = {
      id: newId('k'),
      hash: sha256(secret),
      family: context.family,
      userName,
      role,
      name,
      groups,
      expiresAtMs,
    };
    const seen = { prefix: secret.slice(0, PREFIX_LENGTH), last4: secret.slice(-4), createdAtMs: nowMs };
    const newUserId = newId('u');
    const write: KeyWrite =
      context.replaces === undefined
        ? { actor: context.actor, newUserId }
        : { actor: context.actor, newUserId, replaces: context.replaces };
    const key = await addKey(store, { ...row, ...seen }, write, deadline);
    const replaced = state.keys.find(({ id }) => id === context.replaces);
    if (replaced) state.putKey({ ...replaced, revokedAtMs: nowMs });
    state.putKey(key);
    onChanged();
    this.#publishEvent('key-created', key);
    if (replaced) this.#publishEvent('key-revoked', replaced);
    return { key, secret };
  }

  #publishEvent(type: 'key-created' | 'key-revoked', key: StoredKey): void {
    const { runtime } = this.#parts;
    runtime.bus.publish({ type, user: key.userName, keyName: key.name, keyPrefix: key.prefix });
  }

  #findKey(idOrPrefix: string): Outcome<StoredKey> {
    const { state } = this.#parts;
    const exact = state.keys.find(({ id }) => id === idOrPrefix);
    if (exact) return exact;
    const live = state.keys.filter(({ revokedAtMs }) => revokedAtMs === undefined);
    // People may paste the whole key: compare only the stored prefix.
    const start = idOrPrefix.slice(0, PREFIX_LENGTH);
    const fitting = start.length < SHORTEST_PREFIX ? [] : live.filter(({ prefix }) => prefix.startsWith(start));
    const [only] = fitting;
    if (only && fitting.length === 1) return only;
    if (fitting.length > 1)
      return new Refusal('invalid-request', 'More than one valid key has this prefix; use the id of the key.');
    return new Refusal('not-found', 'Key not found.');
  }

  #groupSlugs(wanted: readonly string[] | undefined): Outcome<readonly string[] | undefined> {
    const { state } = this.#parts;
    if (wanted === undefined) return undefined;
    const { groups } = state;
    const slugs: string[] = [];
    for (const idOrPrefix of wanted) {
      const group = findBySlugOrName(idOrPrefix, groups);
      if (!group)
        return new Refusal('invalid-request', `Group not found: ${JSON.stringify(idOrPrefix.slice(0, NAME_LENGTH))}.`);
      slugs.push(group.slug);
    }
    return slugs;
  }

  /** Revokes in memory even when the disk fails; then throws `store-failed`. */
  async #persistRevocation(old: StoredKey, actor: string, deadline: Deadline): Promise<StoredKey | undefined> {
    const { runtime, store, state, onChanged } = this.#parts;
    const atMs = runtime.clock.wallMs();
    try {
      return await revokeKey(store, { id: old.id, atMs, actor }, deadline);
    } catch (cause) {
      state.putKey({ ...old, revokedAtMs: old.revokedAtMs ?? atMs });
      onChanged();
      throw new HubError('store-failed', {
        message:
          'The key is revoked, but the store could not be written: after a restart it is valid again. Revoke it again.',
        cause,
      });
    }
  }
}

function isName(text: string): boolean {
  return text.trim() !== '' && text.length <= NAME_LENGTH && !/\p{C}/u.test(text);
}

function newId(kind: 'k' | 'u' | 'f'): string {
  return `${kind}_${randomBytes(8).toString('hex')}`;
}

function sha256(secret: string): string {
  return createHash('sha256').update(secret).digest('hex');
}

/**
 * Keys of people and clients: made, listed, replaced, ended.
 * Promises: what is answered is on the disk, and on its way to the hubs within 50 ms; the whole key exists in the answer that made it and
 * nowhere else; a replacement keeps the family (sessions go on), role, groups and expiry.
 * Does not: check keys of requests (`auth/keys.ts`, in the hubs).
 */
import { createHash, randomBytes } from 'node:crypto';
import type { Deadline } from '../kernel/deadline.ts';
import { HubError } from '../kernel/errors.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { isRefusal, type Outcome, Refusal } from '../kernel/outcome.ts';
import type { Role } from '../kernel/snapshot.ts';
import { addKey, type KeyWrite, markUsed, revokeKey, type StoredKey } from '../store/keys.ts';
import type { Store } from '../store/store.ts';
import type { World } from './control-state.ts';
import { bySlugOrName } from './slugs.ts';

export const KEY_PATTERN = /^mcphub_[0-9a-f]{64}$/;
const PREFIX_LENGTH = 15;
/** `mcphub_` and four digits: shorter ones are too easily another's. */
const SHORTEST_PREFIX = 11;
const NAME_LENGTH = 100;
const USED_MS = 5000;
const OWNER_WITH_GROUPS =
  'An owner key reaches everything and cannot be limited to groups. Leave the groups out, or use role member.';

export interface NewKeyWish {
  readonly user: string;
  readonly name: string;
  readonly role: Role;
  /** Names or slugs; undefined = all. */
  readonly groups: readonly string[] | undefined;
  /** Wall clock ms; undefined = does not expire. */
  readonly expiresAtMs: number | undefined;
  /** Otherwise a random one. Must fit `KEY_PATTERN`. */
  readonly secret?: string;
}

export interface MadeKey {
  readonly key: StoredKey;
  readonly secret: string;
}

/** `who` is for the audit. All throw `store-failed`. */
export interface Keys {
  list(): readonly StoredKey[];
  create(wish: NewKeyWish, who: string, deadline: Deadline): Promise<Outcome<MadeKey>>;
  /** `id` = an id, or a prefix that fits one live key. */
  rotate(id: string, who: string, deadline: Deadline): Promise<Outcome<MadeKey>>;
  revoke(id: string, who: string, deadline: Deadline): Promise<Outcome<StoredKey>>;
  /** Written behind. */
  used(ids: readonly string[]): void;
}

export function newSecret(): string {
  return `mcphub_${randomBytes(32).toString('hex')}`;
}

export function createKeys(parts: {
  readonly kernel: Kernel;
  readonly store: Store;
  readonly world: World;
  /** The keys have changed. */
  readonly changed: () => void;
}): Keys {
  const { kernel, store, world, changed } = parts;

  async function make(
    wish: NewKeyWish,
    more: { readonly family: string; readonly who: string; readonly replaces?: string },
    deadline: Deadline,
  ): Promise<MadeKey> {
    const secret = wish.secret ?? newSecret();
    const { user: userName, name, role, groups, expiresAtMs } = wish;
    const nowMs = kernel.clock.wallMs();
    const row = {
      id: newId('k'),
      hash: hashOf(secret),
      family: more.family,
      userName,
      role,
      name,
      groups,
      expiresAtMs,
    };
    const seen = { prefix: secret.slice(0, PREFIX_LENGTH), last4: secret.slice(-4), createdAtMs: nowMs };
    const newUserId = newId('u');
    const write: KeyWrite =
      more.replaces === undefined
        ? { who: more.who, newUserId }
        : { who: more.who, newUserId, replaces: more.replaces };
    const key = await addKey(store, { ...row, ...seen }, write, deadline);
    const replaced = world.keys.find(({ id }) => id === more.replaces);
    if (replaced) world.putKey({ ...replaced, revokedAtMs: nowMs });
    world.putKey(key);
    changed();
    state('key-created', key);
    if (replaced) state('key-revoked', replaced);
    return { key, secret };
  }

  function state(type: 'key-created' | 'key-revoked', key: StoredKey): void {
    kernel.bus.publish({ type, user: key.userName, keyName: key.name, keyPrefix: key.prefix });
  }

  function find(word: string): Outcome<StoredKey> {
    const exact = world.keys.find(({ id }) => id === word);
    if (exact) return exact;
    const live = world.keys.filter(({ revokedAtMs }) => revokedAtMs === undefined);
    // People may paste the whole key; only what is kept of it is compared.
    const start = word.slice(0, PREFIX_LENGTH);
    const fitting = start.length < SHORTEST_PREFIX ? [] : live.filter(({ prefix }) => prefix.startsWith(start));
    const [only] = fitting;
    if (only && fitting.length === 1) return only;
    if (fitting.length > 1) return new Refusal('invalid-request', 'More than one key begins like that; give its id.');
    return new Refusal('not-found', 'There is no such key.');
  }

  function groupsFrom(wanted: readonly string[] | undefined): Outcome<readonly string[] | undefined> {
    if (wanted === undefined) return undefined;
    const { groups } = world;
    const slugs: string[] = [];
    for (const word of wanted) {
      const group = bySlugOrName(word, groups);
      if (!group)
        return new Refusal('invalid-request', `There is no group ${JSON.stringify(word.slice(0, NAME_LENGTH))}.`);
      slugs.push(group.slug);
    }
    return slugs;
  }

  /** A key that must go goes from memory whatever the disk does; the caller hears that it is not kept. */
  async function revokeOnDisk(old: StoredKey, who: string, deadline: Deadline): Promise<StoredKey | undefined> {
    const atMs = kernel.clock.wallMs();
    try {
      return await revokeKey(store, { id: old.id, atMs, who }, deadline);
    } catch (cause) {
      world.putKey({ ...old, revokedAtMs: old.revokedAtMs ?? atMs });
      changed();
      throw new HubError('store-failed', {
        message:
          'The key is refused from now on, but that could not be written: after a restart it works again. Try once more.',
        cause,
      });
    }
  }

  return {
    list: () => world.keys,
    async create(wish, who, deadline) {
      for (const [what, text] of [
        ['user', wish.user],
        ['name', wish.name],
      ] as const) {
        if (!isName(text))
          return new Refusal('invalid-request', `${what} must be 1 to ${NAME_LENGTH} printable characters.`);
      }
      if (wish.expiresAtMs !== undefined && wish.expiresAtMs <= kernel.clock.wallMs()) {
        return new Refusal('invalid-request', 'expiresAtMs is in the past.');
      }
      if (wish.role === 'owner' && wish.groups !== undefined) return new Refusal('invalid-request', OWNER_WITH_GROUPS);
      const groups = groupsFrom(wish.groups);
      if (isRefusal(groups)) return groups;
      return make({ ...wish, groups }, { family: newId('f'), who }, deadline);
    },
    async rotate(id, who, deadline) {
      const old = find(id);
      if (isRefusal(old)) return old;
      if (old.revokedAtMs !== undefined)
        return new Refusal('invalid-request', 'This key has been revoked; make a new one.');
      const { userName: user, name, role, groups, expiresAtMs } = old;
      return make({ user, name, role, groups, expiresAtMs }, { family: old.family, who, replaces: old.id }, deadline);
    },
    async revoke(id, who, deadline) {
      const old = find(id);
      if (isRefusal(old)) return old;
      const revoked = await revokeOnDisk(old, who, deadline);
      if (!revoked) return new Refusal('not-found', 'There is no such key.');
      world.putKey(revoked);
      changed();
      if (old.revokedAtMs === undefined) state('key-revoked', revoked);
      return revoked;
    },
    used(ids) {
      const atMs = kernel.clock.wallMs();
      const wanted = new Set(ids);
      const known = world.keys.filter(({ id }) => wanted.has(id)).map(({ id }) => id);
      if (known.length === 0) return;
      world.keys = world.keys.map((key) => (wanted.has(key.id) ? { ...key, lastUsedAtMs: atMs } : key));
      kernel.scope.run('keys used', async () => {
        using deadline = kernel.deadline(USED_MS);
        await markUsed(store, known, atMs, deadline);
      });
    },
  };
}

function isName(text: string): boolean {
  return text.trim() !== '' && text.length <= NAME_LENGTH && !/\p{C}/u.test(text);
}

function newId(kind: 'k' | 'u' | 'f'): string {
  return `${kind}_${randomBytes(8).toString('hex')}`;
}

function hashOf(secret: string): string {
  return createHash('sha256').update(secret).digest('hex');
}

/**
 * Stores users and their keys. A key is stored only as its SHA-256.
 * Guarantees: a revoked key keeps its row (for listings and the audit log) and never becomes valid again.
 */
import type { Selectable } from 'kysely';
import type { KeyRecord, Role } from '../model/snapshot.ts';
import type { Deadline } from '../runtime/deadline.ts';
import { recordAudit } from './audit.ts';
import type { KeysTable } from './schema.ts';
import type { Db, Store } from './store.ts';

export interface StoredKey extends KeyRecord {
  readonly last4: string;
  readonly createdAtMs: number;
  readonly revokedAtMs: number | undefined;
  readonly lastUsedAtMs: number | undefined;
}

export interface NewKey {
  readonly id: string;
  readonly hash: string;
  readonly family: string;
  readonly userName: string;
  readonly role: Role;
  readonly name: string;
  readonly prefix: string;
  readonly last4: string;
  readonly groups: readonly string[] | undefined;
  readonly createdAtMs: number;
  readonly expiresAtMs: number | undefined;
}

/** `actor` is recorded in the audit log; `newUserId` is used when the user is new. */
export interface KeyWrite {
  readonly actor: string;
  readonly newUserId: string;
  /** Id of a key to revoke in the same transaction (rotation). */
  readonly replaces?: string;
}

/** Returns all keys, newest first. */
export function listKeys(store: Store, deadline: Deadline): Promise<StoredKey[]> {
  return store.run('list keys', (db) => readKeys(db), deadline);
}

/** Stores a key and its user if new, and revokes the key it replaces, in one transaction. */
export function addKey(store: Store, key: NewKey, write: KeyWrite, deadline: Deadline): Promise<StoredKey> {
  return store.run(
    'add key',
    async (db) => {
      await db
        .insertInto('users')
        .values({ id: write.newUserId, name: key.userName, created_at: key.createdAtMs })
        .onConflict((conflict) => conflict.column('name').doNothing())
        .execute();
      const user = await db.selectFrom('users').select('id').where('name', '=', key.userName).executeTakeFirstOrThrow();
      await db
        .insertInto('keys')
        .values({
          id: key.id,
          hash: key.hash,
          family: key.family,
          user_id: user.id,
          role: key.role,
          name: key.name,
          prefix: key.prefix,
          last4: key.last4,
          groups: key.groups === undefined ? null : JSON.stringify(key.groups),
          created_at: key.createdAtMs,
          expires_at: key.expiresAtMs ?? null,
        })
        .execute();
      if (write.replaces !== undefined) await setRevoked(db, write.replaces, key.createdAtMs);
      const action = write.replaces === undefined ? 'key-create' : 'key-rotate';
      await recordAudit(db, { atMs: key.createdAtMs, actor: write.actor, action, subject: key.id });
      return readKey(db, key.id);
    },
    deadline,
  );
}

/** Revokes a key; revoking again changes nothing. Returns undefined when the key does not exist. */
export function revokeKey(
  store: Store,
  revoke: { readonly id: string; readonly atMs: number; readonly actor: string },
  deadline: Deadline,
): Promise<StoredKey | undefined> {
  return store.run(
    'revoke key',
    async (db) => {
      const changed = await setRevoked(db, revoke.id, revoke.atMs);
      if (changed) {
        await recordAudit(db, { atMs: revoke.atMs, actor: revoke.actor, action: 'key-revoke', subject: revoke.id });
      }
      return (await readKeys(db, revoke.id))[0];
    },
    deadline,
  );
}

export function updateLastUsed(store: Store, ids: readonly string[], atMs: number, deadline: Deadline): Promise<void> {
  return store.run(
    'mark keys used',
    async (db) => {
      for (const id of ids) await db.updateTable('keys').set({ last_used_at: atMs }).where('id', '=', id).execute();
    },
    deadline,
  );
}

async function setRevoked(db: Db, id: string, atMs: number): Promise<boolean> {
  const result = await db
    .updateTable('keys')
    .set({ revoked_at: atMs })
    .where('id', '=', id)
    .where('revoked_at', 'is', null)
    .executeTakeFirst();
  return result.numUpdatedRows > 0n;
}

async function readKey(db: Db, id: string): Promise<StoredKey> {
  return (await readKeys(db, id))[0] as StoredKey;
}

async function readKeys(db: Db, id?: string): Promise<StoredKey[]> {
  let query = db
    .selectFrom('keys')
    .innerJoin('users', 'users.id', 'keys.user_id')
    .selectAll('keys')
    .select('users.name as user_name')
    .orderBy('keys.created_at', 'desc')
    .orderBy('keys.id');
  if (id !== undefined) query = query.where('keys.id', '=', id);
  return (await query.execute()).map(toStoredKey);
}

function toStoredKey(row: Selectable<KeysTable> & { readonly user_name: string }): StoredKey {
  return {
    id: row.id,
    hash: row.hash,
    family: row.family,
    userId: row.user_id,
    userName: row.user_name,
    role: row.role,
    name: row.name,
    prefix: row.prefix,
    last4: row.last4,
    groups: row.groups === null ? undefined : (JSON.parse(row.groups) as string[]),
    createdAtMs: row.created_at,
    expiresAtMs: row.expires_at ?? undefined,
    revokedAtMs: row.revoked_at ?? undefined,
    lastUsedAtMs: row.last_used_at ?? undefined,
  };
}

/**
 * Small snapshots, keys and callers for tests of the rooms that a call passes.
 */
import { createHash } from 'node:crypto';
import { LOCAL_PRINCIPAL, type Principal } from '../../src/model/principal.ts';
import { EMPTY_SNAPSHOT, type KeyRecord, type Snapshot, SnapshotHolder } from '../../src/model/snapshot.ts';
import type { Access } from '../../src/runtime/open-item.ts';

/** `mcphub_` and 64 times the given hex digit. */
export function secretOf(digit: string): string {
  return `mcphub_${digit.repeat(64)}`;
}

export function keyRecord(digit: string, more: Partial<KeyRecord> = {}): KeyRecord {
  const secret = secretOf(digit);
  return {
    id: `key-${digit}`,
    hash: createHash('sha256').update(secret).digest('hex'),
    family: `family-${digit}`,
    userId: `user-${digit}`,
    userName: `name-${digit}`,
    role: 'member',
    name: `client-${digit}`,
    prefix: secret.slice(0, 15),
    groups: undefined,
    expiresAtMs: undefined,
    ...more,
  };
}

export function principalOf(family: string, more: Partial<Principal> = {}): Principal {
  return { ...LOCAL_PRINCIPAL, role: 'member', userId: family, userName: family, keyId: family, family, ...more };
}

export function snapshotOf(revision: number, more: Partial<Snapshot> = {}): Snapshot {
  return { ...EMPTY_SNAPSHOT, revision, keysRevision: revision, ...more };
}

export function holderOf(more: Partial<Snapshot> = {}): SnapshotHolder {
  const holder = new SnapshotHolder();
  holder.swap(snapshotOf(1, more));
  return holder;
}

/** A caller that sees everything. */
export function accessOf(family: string, more: Partial<Access> = {}): Access {
  return { principal: principalOf(family), viewName: { kind: 'all' }, snapshot: EMPTY_SNAPSHOT, ...more };
}

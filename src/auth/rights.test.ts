import assert from 'node:assert/strict';
import { test } from 'node:test';
import { groupSpec, serverSpec } from '../../test/support/catalog-worlds.ts';
import { keyRecord, snapshotOf } from '../../test/support/small-worlds.ts';
import { isRefusal } from '../model/outcome.ts';
import { ANONYMOUS_PRINCIPAL, type Principal, type ViewName } from '../model/principal.ts';
import type { KeyRecord, Snapshot } from '../model/snapshot.ts';
import type { OpenUse } from '../runtime/open-item.ts';
import { createAccessCheck } from './rights.ts';

const SERVERS = [serverSpec('git'), serverSpec('files')];
const GROUPS = [
  groupSpec('dev', ['git', 'files']),
  groupSpec('few', ['git'], { tools: { git: ['log', 'show'] } }),
  groupSpec('open', ['git'], { access: 'anonymous' }),
];
const NOW_MS = 1_000_000;

const worldOf = (keys: readonly KeyRecord[], more: Partial<Snapshot> = {}): Snapshot =>
  snapshotOf(1, { servers: SERVERS, groups: GROUPS, keys, ...more });

function principalFrom({ id, userId, userName, family, name, role, groups }: KeyRecord): Principal {
  return { userId, userName, family, keyId: id, keyName: name, role, groups };
}

/** Returns what happens to an open item of this key. */
function verdict(
  before: Snapshot,
  after: Snapshot,
  item: { key?: KeyRecord; principal?: Principal; viewName?: ViewName; use?: OpenUse },
): string {
  const principal = item.principal ?? principalFrom(item.key ?? keyRecord('a'));
  const check = createAccessCheck(
    () => after,
    () => NOW_MS,
  );
  const outcome = check({ principal, viewName: item.viewName ?? { kind: 'all' }, use: item.use }, before);
  return isRefusal(outcome) ? outcome.code : outcome;
}

test('keeps everything open when the key is unchanged or has more rights', () => {
  const key = keyRecord('a', { groups: ['few'] });
  const all: ViewName = { kind: 'groups', slugs: ['few'] };
  assert.equal(verdict(worldOf([key]), worldOf([key]), { key, viewName: all }), 'allowed');
  const wider = keyRecord('a', { groups: ['few', 'dev'] });
  assert.equal(verdict(worldOf([key]), worldOf([wider]), { key, viewName: all }), 'allowed');
  assert.equal(
    verdict(worldOf([key]), worldOf([keyRecord('a', { groups: undefined })]), { key, viewName: all }),
    'allowed',
  );
});

test('ends everything of a key that is revoked, expired or belongs to another user', () => {
  const key = keyRecord('a');
  const before = worldOf([key]);
  assert.equal(verdict(before, worldOf([]), { key }), 'key-revoked');
  assert.equal(verdict(before, worldOf([keyRecord('a', { expiresAtMs: NOW_MS })]), { key }), 'key-expired');
  assert.equal(verdict(before, worldOf([keyRecord('a', { expiresAtMs: NOW_MS + 1 })]), { key }), 'allowed');
  assert.equal(verdict(before, worldOf([keyRecord('a', { userId: 'other' })]), { key }), 'key-revoked');
  const owner = keyRecord('a', { role: 'owner' });
  assert.equal(verdict(worldOf([owner]), worldOf([keyRecord('a')]), { key: owner }), 'key-revoked');
});

test('ends streams of a key with fewer rights, and calls whose server or tool it may not use any more', () => {
  const key = keyRecord('a', { groups: ['dev'] });
  const before = worldOf([key]);
  const after = worldOf([keyRecord('a', { groups: ['few'] })]);
  const viewName: ViewName = { kind: 'groups', slugs: ['dev'] };
  assert.equal(verdict(before, after, { key, viewName }), 'forbidden');
  assert.equal(verdict(before, after, { key, viewName, use: { server: 'files', tool: undefined } }), 'forbidden');
  assert.equal(verdict(before, after, { key, viewName, use: { server: 'git', tool: 'log' } }), 'allowed');
  assert.equal(verdict(before, after, { key, viewName, use: { server: 'git', tool: 'push' } }), 'forbidden');
  assert.equal(verdict(before, after, { key, viewName: { kind: 'group', slug: 'dev' } }), 'forbidden');
});

test('ends items when a group loses a server or a tool, but not when a server is removed', () => {
  const key = keyRecord('a', { groups: ['dev'] });
  const viewName: ViewName = { kind: 'groups', slugs: ['dev'] };
  const before = worldOf([key]);
  assert.equal(
    verdict(before, worldOf([key], { groups: [groupSpec('dev', ['git'])] }), { key, viewName }),
    'forbidden',
  );
  const one = groupSpec('dev', ['git', 'files'], { tools: { git: ['log'] } });
  assert.equal(verdict(before, worldOf([key], { groups: [one] }), { key, viewName }), 'forbidden');
  const removed = worldOf([key], { servers: [serverSpec('git')], groups: [groupSpec('dev', ['git'])] });
  assert.equal(verdict(before, removed, { key, viewName }), 'allowed');
  assert.equal(verdict(before, removed, { key, viewName, use: { server: 'files', tool: 'read' } }), 'allowed');
});

test('ends everything of an anonymous caller when its group needs a key', () => {
  const viewName: ViewName = { kind: 'group', slug: 'open' };
  const before = worldOf([]);
  const item = { principal: ANONYMOUS_PRINCIPAL, viewName };
  assert.equal(verdict(before, before, item), 'allowed');
  assert.equal(verdict(before, worldOf([], { groups: [groupSpec('open', ['git'])] }), item), 'unauthorized');
});

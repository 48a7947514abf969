import assert from 'node:assert/strict';
import { test } from 'node:test';
import { groupSpec } from '../../test/support/catalog-worlds.ts';
import { principalOf } from '../../test/support/small-worlds.ts';
import { isRefusal, Refusal } from '../model/outcome.ts';
import { ANONYMOUS_PRINCIPAL } from '../model/principal.ts';
import { admit, isOpenTo, type PathTarget, viewFor, viewKey } from './access.ts';

const GROUPS = [
  groupSpec('dev', ['git', 'files'], { tools: { files: ['read'] } }),
  groupSpec('all', '*'),
  groupSpec('open', ['git'], { access: 'anonymous' }),
];
const AT_HOME = { visitor: { loopback: true, proxied: false } };

function viewOf(target: PathTarget, groups: readonly string[] | undefined): string {
  const view = viewFor(target, principalOf('a', { groups }), GROUPS);
  return isRefusal(view) ? view.code : viewKey(view);
}

test('allows a key without limits everything that the path names', () => {
  assert.equal(viewOf({ kind: 'all' }, undefined), 'all');
  assert.equal(viewOf({ kind: 'group', slug: 'dev' }, undefined), 'group:dev');
  assert.equal(viewOf({ kind: 'server', slug: 'git' }, undefined), 'server:git');
});

test('allows a limited key the union of its groups at /mcp, in one order', () => {
  assert.equal(viewOf({ kind: 'all' }, ['dev']), 'groups:dev');
  assert.equal(viewOf({ kind: 'all' }, ['open', 'dev']), viewOf({ kind: 'all' }, ['dev', 'open']));
  assert.equal(viewOf({ kind: 'all' }, []), 'groups:');
});

test('never extends by the path what a key may do', () => {
  assert.equal(viewOf({ kind: 'group', slug: 'all' }, ['dev']), 'forbidden');
  assert.equal(viewOf({ kind: 'group', slug: 'dev' }, ['dev']), 'group:dev');
  assert.equal(viewOf({ kind: 'server', slug: 'git' }, ['dev']), 'server:git');
  assert.equal(viewOf({ kind: 'server', slug: 'memory' }, ['dev']), 'forbidden');
  assert.equal(viewOf({ kind: 'server', slug: 'memory' }, ['all']), 'server:memory');
});

test('does not open a whole server of which a group shows only some tools', () => {
  assert.equal(viewOf({ kind: 'server', slug: 'files' }, ['dev']), 'forbidden');
  assert.equal(viewOf({ kind: 'server', slug: 'files' }, ['dev', 'all']), 'server:files');
});

test('opens an anonymous group on loopback only, and not through a proxy', () => {
  const open: PathTarget = { kind: 'group', slug: 'open' };
  assert.equal(isOpenTo(open, GROUPS, AT_HOME), true);
  assert.equal(isOpenTo(open, GROUPS, { visitor: { loopback: false, proxied: false } }), false);
  assert.equal(isOpenTo(open, GROUPS, { visitor: { loopback: true, proxied: true } }), false);
  assert.equal(isOpenTo({ kind: 'group', slug: 'dev' }, GROUPS, AT_HOME), false);
  assert.equal(isOpenTo({ kind: 'all' }, GROUPS, AT_HOME), false);
  assert.equal(isOpenTo({ kind: 'server', slug: 'open' }, GROUPS, AT_HOME), false);
});

test('requires a key that is sent to be valid, also where none is needed', () => {
  const wrong = new Refusal('unauthorized');
  assert.equal(admit({ open: true, hasKey: true, check: () => wrong }), wrong);
  assert.equal(admit({ open: true, hasKey: false, check: () => wrong }), ANONYMOUS_PRINCIPAL);
  assert.equal(admit({ open: false, hasKey: false, check: () => wrong }), wrong);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { frozenRuntime } from '../../test/support/frozen-runtime.ts';
import { accessOf, snapshotOf } from '../../test/support/small-worlds.ts';
import { isRefusal, Refusal } from '../model/outcome.ts';
import type { OpenKind } from './open-item.ts';

function registry() {
  const frozen = frozenRuntime();
  const { openWork } = frozen.runtime;
  const now = snapshotOf(2);
  const revoked = new Set<string>();
  openWork.checkWith(
    ({ principal }) => (revoked.has(principal.family) ? new Refusal('key-revoked') : 'allowed'),
    () => now,
  );
  const open = (kind: OpenKind, family: string, ended: string[] = []) => {
    const item = openWork.add(kind, accessOf(family, { snapshot: now }));
    assert.ok(!isRefusal(item));
    item.onEnd(({ code }) => ended.push(`${kind} ${code}`));
    return item;
  };
  return { ...frozen, openWork, now, revoked, open };
}

test('ends calls at once, streams after them, and nothing of other keys', () => {
  const { openWork, now, revoked, open, advance } = registry();
  const ended: string[] = [];
  open('stream', 'alice', ended);
  open('call', 'alice', ended);
  open('call', 'bob', ended);
  revoked.add('alice');
  let count = -1;
  openWork.recheck(now, (items) => {
    count = items;
  });
  assert.deepEqual(ended, ['call key-revoked']);
  advance(5);
  assert.deepEqual(ended, ['call key-revoked', 'stream key-revoked']);
  assert.equal(count, 2);
  assert.equal(openWork.size, 1);
});

test('refuses what is opened under an outdated snapshot by a key that is gone', () => {
  const { openWork, revoked } = registry();
  revoked.add('alice');
  const late = openWork.add('call', accessOf('alice', { snapshot: snapshotOf(1) }));
  assert.ok(isRefusal(late));
  assert.equal(late.code, 'key-revoked');
  assert.equal(openWork.size, 0);
});

test('a listener that throws is reported and the others still run', () => {
  const { openWork, now, revoked, open, facts } = registry();
  const ended: string[] = [];
  open('call', 'alice').onEnd(() => {
    throw new Error('broken');
  });
  open('call', 'alice', ended);
  revoked.add('alice');
  openWork.recheck(now, () => {});
  assert.deepEqual(ended, ['call key-revoked']);
  assert.ok(facts.some(({ type }) => type === 'task-faulted'));
});

test('an item that has closed is not ended, and a late listener of an ended item runs at once', () => {
  const { openWork, now, revoked, open } = registry();
  const ended: string[] = [];
  open('call', 'alice', ended).close();
  const item = open('call', 'alice');
  revoked.add('alice');
  openWork.recheck(now, () => {});
  assert.deepEqual(ended, []);
  let late = '';
  item.onEnd(({ code }) => {
    late = code;
  });
  assert.equal(late, 'key-revoked');
});

// covers: B20
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { frozenKernel } from '../../test/support/frozen-kernel.ts';
import { limitsFrom } from '../config/limits.ts';
import { createNotes, type KeptNote } from './notes.ts';

function rig() {
  const frozen = frozenKernel();
  const notes = createNotes({ kernel: frozen.kernel, limits: limitsFrom({}) });
  const told: KeptNote[] = [];
  notes.onChanged((note) => told.push(note));
  return { ...frozen, notes, told };
}

const wish = (uri: string, server = 's') => ({ server, uri, named: `as-${uri}` });

test('the most verbose level that any session wants counts, and goes with its session', () => {
  const { notes } = rig();
  assert.equal(notes.mostVerbose(), undefined);
  notes.setLevel('a', 'error');
  notes.setLevel('b', 'debug');
  assert.deepEqual([notes.level('a'), notes.mostVerbose()], ['error', 'debug']);
  notes.forget('b');
  assert.deepEqual([notes.level('b'), notes.mostVerbose()], [undefined, 'error']);
});

test('an update reaches the sessions that wished for the resource or for what holds it, under their own name for it', () => {
  const { notes } = rig();
  notes.subscribe('a', wish('file:///x'));
  notes.subscribe('b', wish('file:///x/'));
  notes.subscribe('c', wish('file:///xy'));
  notes.subscribe('d', wish('file:///x', 'other'));
  assert.deepEqual(notes.subscribers('s', 'file:///x'), [{ id: 'a', named: 'as-file:///x' }]);
  assert.deepEqual(
    notes.subscribers('s', 'file:///x/part').map(({ id, named }) => [id, named]),
    [
      ['a', 'file:///x/part'],
      ['b', 'file:///x/part'],
    ],
  );
  assert.deepEqual(notes.urisOf('s'), ['file:///x', 'file:///x/', 'file:///xy']);
  notes.unsubscribe('a', 's', 'file:///x');
  assert.deepEqual(notes.subscribers('s', 'file:///x'), []);
});

test('subscribing twice is one subscription, and a session has a ceiling', () => {
  const { notes } = rig();
  notes.subscribe('a', wish('u'));
  notes.subscribe('a', wish('u'));
  assert.equal(notes.subscriptions('a').length, 1);
  for (let at = 1; at < 256; at += 1) assert.equal(notes.subscribe('a', wish(`u${at}`)), true);
  assert.equal(notes.subscribe('a', wish('one more')), false);
  assert.equal(notes.subscribe('b', wish('one more')), true);
});

test('what is written behind comes back the same; an older note, and one that is none, change nothing', () => {
  const { notes, told, setWall, kernel } = rig();
  setWall(kernel.clock.wallMs() + 1000);
  notes.setLevel('a', 'debug');
  notes.subscribe('a', wish('u'));
  const newest = told.at(-1);
  assert.ok(newest);
  const other = rig().notes;
  assert.equal(other.take(newest), true);
  assert.deepEqual([other.level('a'), other.subscriptions('a')], ['debug', [wish('u')]]);
  assert.equal(other.take({ ...newest, wishes: '{"level":"error","subscriptions":[]}', atMs: newest.atMs - 1 }), false);
  for (const wishes of ['', 'null', '[]', '{"level":7,"subscriptions":[{"server":1}]}'])
    other.take({ id: 'x', atMs: newest.atMs, wishes });
  assert.deepEqual([other.level('x'), other.subscriptions('x'), other.level('a')], [undefined, [], 'debug']);
});

test('what comes back late wakes no subscription that was ended meanwhile, nor a session that is over', () => {
  const { notes, told } = rig();
  notes.subscribe('a', wish('u'));
  notes.unsubscribe('a', 's', 'u');
  notes.subscribe('b', wish('u'));
  notes.forget('b');
  for (const note of told.slice()) assert.equal(notes.take(note), false);
  assert.deepEqual(notes.urisOf('s'), []);
  // Both changes of one millisecond count elsewhere.
  const other = rig().notes;
  for (const note of told.filter(({ id }) => id === 'a')) assert.equal(other.take(note), true);
  assert.deepEqual(other.urisOf('s'), []);
});

// covers: B20
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { frozenKernel } from '../../test/support/frozen-kernel.ts';
import { limitsFrom } from '../config/limits.ts';
import { createNotes, type KeptNote } from './preferences.ts';

function rig(overrides: Record<string, number> = {}) {
  const frozen = frozenKernel();
  const notes = createNotes({ kernel: frozen.kernel, limits: limitsFrom(overrides) });
  const told: KeptNote[] = [];
  notes.onChanged((note) => told.push(note));
  return { ...frozen, notes, told };
}

const any = () => true;
const as = (random: string, owner = 'k', path = 'all') => ({ random, owner, path });
const wish = (uri: string, server = 's') => ({ server, uri, named: `as-${uri}` });

test('the most verbose level that any session wants counts, and goes with its session', () => {
  const { notes } = rig();
  assert.equal(notes.mostVerbose(any), undefined);
  notes.setLevel(as('a'), 'error');
  notes.setLevel(as('b'), 'debug');
  assert.deepEqual([notes.level('a'), notes.mostVerbose(any)], ['error', 'debug']);
  notes.forget('b');
  assert.deepEqual([notes.level('b'), notes.mostVerbose(any)], [undefined, 'error']);
});

// finding: SR-M8
test('a level counts for the views that see a server only, and travels with its path', () => {
  const { notes, told } = rig();
  notes.setLevel(as('a', 'k', 'group:dev'), 'debug');
  notes.setLevel(as('b', 'k', 'all'), 'error');
  assert.deepEqual(
    [notes.mostVerbose((path) => path === 'all'), notes.mostVerbose(any), notes.mostVerbose(() => false)],
    ['error', 'debug', undefined],
  );
  const other = rig().notes;
  for (const note of told) other.take(note);
  assert.deepEqual([other.mostVerbose((path) => path === 'all'), other.mostVerbose(any)], ['error', 'debug']);
  for (const id of ['a', 'b']) other.forget(id);
  assert.equal(other.mostVerbose(any), undefined);
});

test('an update reaches the sessions that wished for the resource or for what holds it, under their own name for it', () => {
  const { notes } = rig();
  notes.subscribe(as('a'), wish('file:///x'));
  notes.subscribe(as('b'), wish('file:///x/'));
  notes.subscribe(as('c'), wish('file:///xy'));
  notes.subscribe(as('d'), wish('file:///x', 'other'));
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
  notes.subscribe(as('a'), wish('u'));
  notes.subscribe(as('a'), wish('u'));
  assert.equal(notes.subscriptions('a').length, 1);
  for (let at = 1; at < 256; at += 1) assert.equal(notes.subscribe(as('a'), wish(`u${at}`)), undefined);
  assert.equal(notes.subscribe(as('a'), wish('one more')), 'sessionSubscriptions');
  assert.equal(notes.subscribe(as('b'), wish('one more')), undefined);
});

test('what is written behind comes back the same; an older note, and one that is none, change nothing', () => {
  const { notes, told, setWall, kernel } = rig();
  setWall(kernel.clock.wallMs() + 1000);
  notes.setLevel(as('a'), 'debug');
  notes.subscribe(as('a'), wish('u'));
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

test('what comes back late wakes no subscription that was ended meanwhile', () => {
  const { notes, told } = rig();
  notes.subscribe(as('a'), wish('u'));
  notes.unsubscribe('a', 's', 'u');
  for (const note of told.slice()) assert.equal(notes.take(note), false);
  assert.deepEqual(notes.urisOf('s'), []);
  // Both changes of one millisecond count elsewhere.
  const other = rig().notes;
  for (const note of told) assert.equal(other.take(note), true);
  assert.deepEqual(other.urisOf('s'), []);
});

test('a session is refused subscriptions beyond its bytes, and a key beyond its own', () => {
  const { notes, told } = rig({
    sessionPreferencesBytes: 1024,
    preferencesBytesPerKey: 4096,
    preferencesBytes: 65_536,
  });
  const long = (n: number) => wish(`${n}${'x'.repeat(300)}`);
  assert.equal(notes.subscribe(as('a'), long(1)), undefined);
  assert.equal(notes.limitOf(as('a'), long(2)), 'sessionPreferencesBytes');
  assert.equal(notes.subscribe(as('a'), long(2)), 'sessionPreferencesBytes');
  assert.equal(told.length, 1);
  const kept = Array.from({ length: 9 }, (_, n) => notes.subscribe(as(`a${n}`), long(n)));
  assert.equal(kept.at(-1), 'preferencesBytesPerKey');
  assert.equal(notes.subscribe(as('b', 'other'), long(1)), undefined);
  for (let n = 0; n < 9; n += 1) notes.forget(`a${n}`);
  assert.equal(notes.subscribe(as('a10'), long(1)), undefined);
});

test('a stored preference larger than a session may have is dropped', () => {
  const { notes } = rig({ sessionPreferencesBytes: 1024 });
  const wishes = JSON.stringify({ subscriptions: [wish('x'.repeat(2000))] });
  assert.equal(notes.take({ id: 'a', atMs: 1, wishes }), false);
  assert.deepEqual(notes.urisOf('s'), []);
});

test('a key that opens sessions without end loses its own preferences and never those of another key', () => {
  const { notes } = rig({ sessions: 100, sessionsPerKey: 100 });
  notes.setLevel(as('b', 'B'), 'warning');
  notes.subscribe(as('b', 'B'), wish('u'));
  for (let n = 0; n < 1000; n += 1) notes.subscribe(as(`a${n}`, 'A'), wish(`u${n}`));
  for (let n = 0; n < 1000; n += 1) notes.setLevel(as(`a${n}`, 'A'), 'debug');
  assert.deepEqual(notes.subscribers('s', 'u'), [{ id: 'b', named: 'as-u' }]);
  assert.equal(notes.level('b'), 'warning');
  assert.equal(notes.subscribers('s', 'u1').length, 0);
});

test('what a refused session or one that was pushed out wanted leaves nothing behind', () => {
  const { notes } = rig({ sessions: 100, sessionsPerKey: 2 });
  for (const id of ['a', 'b', 'c']) {
    notes.subscribe(as(id), wish(id));
    notes.setLevel(as(id), 'debug');
  }
  assert.deepEqual(notes.urisOf('s'), ['b', 'c']);
  for (const id of ['b', 'c']) notes.forget(id);
  assert.deepEqual([notes.urisOf('s'), notes.mostVerbose(any), notes.isSubscribed('s', 'c')], [[], undefined, false]);
});

// finding: SR-M6
test('an update costs the same however many other resources are subscribed to', () => {
  const { notes } = rig();
  for (let n = 0; n < 5000; n += 1) notes.subscribe(as(`s${n}`), wish(`file:///dir/${n}`));
  notes.subscribe(as('parent'), wish('file:///dir'));
  const startMs = performance.now();
  for (let n = 0; n < 1000; n += 1) assert.equal(notes.subscribers('s', `file:///dir/${n}/part`).length, 2);
  const ms = performance.now() - startMs;
  assert.ok(ms < 500, `1,000 updates took ${ms} ms; a walk over all sessions takes several seconds`);
});

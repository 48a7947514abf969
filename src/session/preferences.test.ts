// covers: B20
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { frozenRuntime } from '../../test/support/frozen-runtime.ts';
import { limitsFrom } from '../config/limits.ts';
import { SessionPreferences, type StoredPreferences } from './preferences.ts';

function rig(overrides: Record<string, number> = {}) {
  const frozen = frozenRuntime();
  const preferences = new SessionPreferences({ runtime: frozen.runtime, limits: limitsFrom(overrides) });
  const changes: StoredPreferences[] = [];
  preferences.onChanged((stored) => changes.push(stored));
  return { ...frozen, preferences, changes };
}

const any = () => true;
const as = (random: string, owner = 'k', path = 'all') => ({ random, owner, path });
const subscription = (uri: string, server = 's') => ({ server, uri, named: `as-${uri}` });

test('returns the most verbose level of all sessions, and forgets it with its session', () => {
  const { preferences } = rig();
  assert.equal(preferences.mostVerbose(any), undefined);
  preferences.setLevel(as('a'), 'error');
  preferences.setLevel(as('b'), 'debug');
  assert.deepEqual([preferences.level('a'), preferences.mostVerbose(any)], ['error', 'debug']);
  preferences.remove('b');
  assert.deepEqual([preferences.level('b'), preferences.mostVerbose(any)], [undefined, 'error']);
});

// finding: SR-M8
test('a level applies only to servers that the session sees, and is replicated with its path', () => {
  const { preferences, changes } = rig();
  preferences.setLevel(as('a', 'k', 'group:dev'), 'debug');
  preferences.setLevel(as('b', 'k', 'all'), 'error');
  assert.deepEqual(
    [
      preferences.mostVerbose((path) => path === 'all'),
      preferences.mostVerbose(any),
      preferences.mostVerbose(() => false),
    ],
    ['error', 'debug', undefined],
  );
  const other = rig().preferences;
  for (const stored of changes) other.applyStored(stored);
  assert.deepEqual([other.mostVerbose((path) => path === 'all'), other.mostVerbose(any)], ['error', 'debug']);
  for (const id of ['a', 'b']) other.remove(id);
  assert.equal(other.mostVerbose(any), undefined);
});

test('an update reaches subscribers of the resource or of a containing path, with the URI that they used', () => {
  const { preferences } = rig();
  preferences.subscribe(as('a'), subscription('file:///x'));
  preferences.subscribe(as('b'), subscription('file:///x/'));
  preferences.subscribe(as('c'), subscription('file:///xy'));
  preferences.subscribe(as('d'), subscription('file:///x', 'other'));
  assert.deepEqual(preferences.subscribers('s', 'file:///x'), [{ id: 'a', named: 'as-file:///x' }]);
  assert.deepEqual(
    preferences.subscribers('s', 'file:///x/part').map(({ id, named }) => [id, named]),
    [
      ['a', 'file:///x/part'],
      ['b', 'file:///x/part'],
    ],
  );
  assert.deepEqual(preferences.subscribedUris('s'), ['file:///x', 'file:///x/', 'file:///xy']);
  preferences.unsubscribe('a', 's', 'file:///x');
  assert.deepEqual(preferences.subscribers('s', 'file:///x'), []);
});

test('subscribing twice counts once, and a session has a limit', () => {
  const { preferences } = rig();
  preferences.subscribe(as('a'), subscription('u'));
  preferences.subscribe(as('a'), subscription('u'));
  assert.equal(preferences.subscriptions('a').length, 1);
  for (let at = 1; at < 256; at += 1) assert.equal(preferences.subscribe(as('a'), subscription(`u${at}`)), undefined);
  assert.equal(preferences.subscribe(as('a'), subscription('one more')), 'sessionSubscriptions');
  assert.equal(preferences.subscribe(as('b'), subscription('one more')), undefined);
});

test('replicated preferences are applied unchanged; older or invalid ones are ignored', () => {
  const { preferences, changes, setWall, runtime } = rig();
  setWall(runtime.clock.wallMs() + 1000);
  preferences.setLevel(as('a'), 'debug');
  preferences.subscribe(as('a'), subscription('u'));
  const newest = changes.at(-1);
  assert.ok(newest);
  const other = rig().preferences;
  assert.equal(other.applyStored(newest), true);
  assert.deepEqual([other.level('a'), other.subscriptions('a')], ['debug', [subscription('u')]]);
  assert.equal(
    other.applyStored({ ...newest, json: '{"level":"error","subscriptions":[]}', atMs: newest.atMs - 1 }),
    false,
  );
  for (const json of ['', 'null', '[]', '{"level":7,"subscriptions":[{"server":1}]}'])
    other.applyStored({ id: 'x', atMs: newest.atMs, json });
  assert.deepEqual([other.level('x'), other.subscriptions('x'), other.level('a')], [undefined, [], 'debug']);
});

test('late preferences do not restore a subscription that was removed meanwhile', () => {
  const { preferences, changes } = rig();
  preferences.subscribe(as('a'), subscription('u'));
  preferences.unsubscribe('a', 's', 'u');
  for (const stored of changes.slice()) assert.equal(preferences.applyStored(stored), false);
  assert.deepEqual(preferences.subscribedUris('s'), []);
  // Two changes within one millisecond are both applied by other workers.
  const other = rig().preferences;
  for (const stored of changes) assert.equal(other.applyStored(stored), true);
  assert.deepEqual(other.subscribedUris('s'), []);
});

test('refuses subscriptions above the bytes of a session, and above those of a key', () => {
  const { preferences, changes } = rig({
    sessionPreferencesBytes: 1024,
    preferencesBytesPerKey: 4096,
    preferencesBytes: 65_536,
  });
  const long = (n: number) => subscription(`${n}${'x'.repeat(300)}`);
  assert.equal(preferences.subscribe(as('a'), long(1)), undefined);
  assert.equal(preferences.exceededLimit(as('a'), long(2)), 'sessionPreferencesBytes');
  assert.equal(preferences.subscribe(as('a'), long(2)), 'sessionPreferencesBytes');
  assert.equal(changes.length, 1);
  const expected = Array.from({ length: 9 }, (_, n) => preferences.subscribe(as(`a${n}`), long(n)));
  assert.equal(expected.at(-1), 'preferencesBytesPerKey');
  assert.equal(preferences.subscribe(as('b', 'other'), long(1)), undefined);
  for (let n = 0; n < 9; n += 1) preferences.remove(`a${n}`);
  assert.equal(preferences.subscribe(as('a10'), long(1)), undefined);
});

test('drops stored preferences above the limit of a session', () => {
  const { preferences } = rig({ sessionPreferencesBytes: 1024 });
  const json = JSON.stringify({ subscriptions: [subscription('x'.repeat(2000))] });
  assert.equal(preferences.applyStored({ id: 'a', atMs: 1, json }), false);
  assert.deepEqual(preferences.subscribedUris('s'), []);
});

test('a key that opens many sessions loses its own preferences and none of another key', () => {
  const { preferences } = rig({ sessions: 100, sessionsPerKey: 100 });
  preferences.setLevel(as('b', 'B'), 'warning');
  preferences.subscribe(as('b', 'B'), subscription('u'));
  for (let n = 0; n < 1000; n += 1) preferences.subscribe(as(`a${n}`, 'A'), subscription(`u${n}`));
  for (let n = 0; n < 1000; n += 1) preferences.setLevel(as(`a${n}`, 'A'), 'debug');
  assert.deepEqual(preferences.subscribers('s', 'u'), [{ id: 'b', named: 'as-u' }]);
  assert.equal(preferences.level('b'), 'warning');
  assert.equal(preferences.subscribers('s', 'u1').length, 0);
});

test('refused and evicted preferences leave no subscription and no bytes behind', () => {
  const { preferences } = rig({ sessions: 100, sessionsPerKey: 2 });
  for (const id of ['a', 'b', 'c']) {
    preferences.subscribe(as(id), subscription(id));
    preferences.setLevel(as(id), 'debug');
  }
  assert.deepEqual(preferences.subscribedUris('s'), ['b', 'c']);
  for (const id of ['b', 'c']) preferences.remove(id);
  assert.deepEqual(
    [preferences.subscribedUris('s'), preferences.mostVerbose(any), preferences.isSubscribed('s', 'c')],
    [[], undefined, false],
  );
});

// finding: SR-M6
test('the cost of an update does not depend on the number of other subscriptions', () => {
  const { preferences } = rig();
  for (let n = 0; n < 5000; n += 1) preferences.subscribe(as(`s${n}`), subscription(`file:///dir/${n}`));
  preferences.subscribe(as('parent'), subscription('file:///dir'));
  const startMs = performance.now();
  for (let n = 0; n < 1000; n += 1) assert.equal(preferences.subscribers('s', `file:///dir/${n}/part`).length, 2);
  const ms = performance.now() - startMs;
  assert.ok(ms < 500, `1,000 updates took ${ms} ms; a walk over all sessions takes several seconds`);
});

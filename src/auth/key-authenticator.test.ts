import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type FrozenRuntime, frozenRuntime } from '../../test/support/frozen-runtime.ts';
import { holderOf, keyRecord, secretOf, snapshotOf } from '../../test/support/small-worlds.ts';
import { limitsFrom } from '../config/limits.ts';
import type { ErrorCode } from '../model/errors.ts';
import { isRefusal, type Outcome } from '../model/outcome.ts';
import type { Principal } from '../model/principal.ts';
import type { KeyRecord, SnapshotHolder } from '../model/snapshot.ts';
import { KeyAuthenticator } from './key-authenticator.ts';

const HERE = '10.0.0.1';

function doorWith(...keys: KeyRecord[]): { door: KeyAuthenticator; frozen: FrozenRuntime; snapshots: SnapshotHolder } {
  const frozen = frozenRuntime();
  const snapshots = holderOf({ keys });
  return {
    door: new KeyAuthenticator({ runtime: frozen.runtime, limits: limitsFrom({}), snapshots }),
    frozen,
    snapshots,
  };
}

function codeOf(outcome: Outcome<Principal>): ErrorCode | 'accepted' {
  return isRefusal(outcome) ? outcome.code : 'accepted';
}

const bearer = (digit: string): string => `Bearer ${secretOf(digit)}`;

test('resolves a known key to its owner, with any case of scheme and digits', () => {
  const { door } = doorWith(keyRecord('a', { role: 'owner', groups: ['g'] }));
  for (const header of [
    bearer('a'),
    bearer('a').toUpperCase().replace('MCPHUB', 'mcphub'),
    `bearer   ${secretOf('a')}`,
  ]) {
    const who = door.check(header, HERE);
    assert.ok(!isRefusal(who), header);
    assert.deepEqual([who.userId, who.family, who.keyId, who.role], ['user-a', 'family-a', 'key-a', 'owner']);
    assert.deepEqual(who.groups, ['g']);
  }
});

// finding: SR-N5
test('caches a key once for all spellings of its header, and refuses a long header unread', () => {
  const { door, frozen } = doorWith(keyRecord('a'));
  for (let spaces = 1; spaces <= 50; spaces += 1) {
    const header = `Bearer${' '.repeat(spaces)}${spaces % 2 ? secretOf('a') : secretOf('a').toUpperCase()}`;
    assert.equal(codeOf(door.check(header, HERE)), 'accepted', header);
  }
  const remembered = frozen.runtime.ceilings.table().find(({ name }) => name === 'auth.headers');
  assert.equal(remembered?.size, 1);
  assert.equal(codeOf(door.check(`Bearer${' '.repeat(16_000)}${secretOf('a')}`, HERE)), 'unauthorized');
});

test('refuses a missing header, another scheme or form and an unknown key, and never repeats a whole key', () => {
  const { door } = doorWith(keyRecord('a'));
  const wrong = [
    undefined,
    '',
    'Basic eDp5',
    secretOf('a'),
    'Bearer mcphub_12',
    bearer('b'),
    `${bearer('a')}0`,
    `${bearer('a')} x`,
  ];
  for (const header of wrong) {
    const refused = door.check(header, HERE);
    assert.equal(codeOf(refused), 'unauthorized', String(header));
    assert.equal(isRefusal(refused) && refused.message.includes('b'.repeat(20)), false);
  }
});

test('refuses a revoked key from the next snapshot on, also when it was accepted before', () => {
  const { door, snapshots } = doorWith(keyRecord('a'), keyRecord('b'));
  assert.equal(codeOf(door.check(bearer('a'), HERE)), 'accepted');
  snapshots.swap(snapshotOf(2, { keys: [keyRecord('b')] }));
  assert.equal(codeOf(door.check(bearer('a'), HERE)), 'unauthorized');
  assert.equal(codeOf(door.check(bearer('b'), HERE)), 'accepted');
});

test('refuses a key from its expiry on, also when it was accepted before', () => {
  const { door, frozen } = doorWith(keyRecord('a', { expiresAtMs: 1_800_000_010_000 }));
  frozen.setWall(1_800_000_009_999);
  assert.equal(codeOf(door.check(bearer('a'), HERE)), 'accepted');
  frozen.setWall(1_800_000_010_000);
  assert.equal(codeOf(door.check(bearer('a'), HERE)), 'key-expired');
});

// row F4 · guards src/auth/key-authenticator.ts
test('rate limits wrong keys of one address, but not right keys or other addresses', () => {
  const { door, frozen } = doorWith(keyRecord('a'));
  const { failedKeysPerMinute } = limitsFrom({});
  for (let tries = 0; tries < failedKeysPerMinute; tries += 1)
    assert.equal(codeOf(door.check(bearer('f'), HERE)), 'unauthorized');
  assert.equal(codeOf(door.check(bearer('f'), HERE)), 'rate-limited');
  assert.equal(codeOf(door.check(bearer('a'), HERE)), 'accepted');
  assert.equal(codeOf(door.check(bearer('f'), '10.0.0.2')), 'unauthorized');
  frozen.advance(60_000 / failedKeysPerMinute + 5);
  assert.equal(codeOf(door.check(bearer('f'), HERE)), 'unauthorized');
  assert.equal(codeOf(door.check(bearer('f'), HERE)), 'rate-limited');
});

// finding: SR-A5
test('counts the addresses of one IPv6 network together', () => {
  const { door } = doorWith(keyRecord('a'));
  const { failedKeysPerMinute } = limitsFrom({});
  for (let tries = 0; tries < failedKeysPerMinute; tries += 1) door.check(bearer('f'), `2001:db8::${tries + 1}`);
  assert.equal(codeOf(door.check(bearer('f'), '2001:db8::ffff')), 'rate-limited');
  assert.equal(codeOf(door.check(bearer('f'), '2001:db8:0:1::1')), 'unauthorized');
});

test('returns the same refusal for a repeated wrong key, until the keys change', () => {
  const { door, snapshots } = doorWith(keyRecord('a'));
  for (const header of [bearer('f'), 'Basic eDp5']) {
    const first = door.check(header, HERE);
    assert.equal(codeOf(first), 'unauthorized');
    assert.equal(door.check(header, '10.0.0.2'), first);
  }
  snapshots.swap(snapshotOf(2, { keys: [keyRecord('f')] }));
  assert.equal(codeOf(door.check(bearer('f'), HERE)), 'accepted');
});

test('publishes refusals of one address at once, then counts them each second without losing any', () => {
  const { door, frozen } = doorWith(keyRecord('a'));
  const published = () =>
    frozen.facts.flatMap((fact) => (fact.type === 'key-refused' ? [[fact.reason, fact.address, fact.times]] : []));
  for (let tries = 0; tries < 6; tries += 1) door.check(bearer('f'), HERE);
  assert.deepEqual(published(), [['unauthorized', HERE, 1]]);
  frozen.advance(1000);
  assert.deepEqual(published().slice(1), [['unauthorized', '', 5]]);
  frozen.advance(1000);
  door.check(bearer('f'), HERE);
  assert.deepEqual(published().slice(2), [['unauthorized', HERE, 1]]);
});

test('limits the events per second for any number of refused addresses', () => {
  const { door, frozen } = doorWith(keyRecord('a'));
  for (let host = 0; host < 5000; host += 1) door.check(undefined, `10.1.${host >> 8}.${host & 255}`);
  frozen.advance(1000);
  const events = frozen.facts.filter((fact) => fact.type === 'key-refused');
  assert.ok(events.length <= 21, `${events.length} events`);
  assert.equal(
    events.reduce((sum, { times }) => sum + times, 0),
    5000,
  );
});

test('counts requests without a key separately', () => {
  const { door } = doorWith(keyRecord('a'));
  const { addressPerSecond } = limitsFrom({});
  for (let tries = 0; tries < addressPerSecond; tries += 1) door.check(undefined, HERE);
  assert.equal(codeOf(door.check(undefined, HERE)), 'rate-limited');
  assert.equal(codeOf(door.check(bearer('f'), HERE)), 'unauthorized');
});

test('reports used keys once', () => {
  const { door } = doorWith(keyRecord('a'), keyRecord('b'));
  door.check(bearer('a'), HERE);
  door.check(bearer('a'), HERE);
  door.check(bearer('f'), HERE);
  assert.deepEqual(door.takeUsed(), ['key-a']);
  assert.deepEqual(door.takeUsed(), []);
  door.check(bearer('b'), HERE);
  assert.deepEqual(door.takeUsed(), ['key-b']);
});

test('announces a key when it is first used, by its prefix and never in full', () => {
  const { door, frozen } = doorWith(keyRecord('a'));
  door.check(bearer('a'), HERE);
  door.check(bearer('a'), HERE);
  door.check(bearer('f'), HERE);
  assert.deepEqual(
    frozen.facts.map(({ type }) => type),
    ['key-accepted', 'key-refused'],
  );
  assert.equal(JSON.stringify(frozen.facts).includes(secretOf('a')), false);
  assert.equal(JSON.stringify(frozen.facts).includes(secretOf('f')), false);
});

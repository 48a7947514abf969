import assert from 'node:assert/strict';
import { test } from 'node:test';
import { frozenRuntime } from '../../test/support/frozen-runtime.ts';
import { Health, type HealthSources } from './health.ts';

function healthWith(more: Partial<HealthSources> = {}): Health {
  const sources: HealthSources = {
    publicServers: () => [],
    servers: () => [{ server: 'a', state: 'ready' }],
    controlConnected: () => true,
    snapshotRevision: () => 3,
    keys: () => ({ revision: 2, ageMs: 10 }),
    gauges: () => ({
      ...{ rssBytes: 1, heapBytes: 2, loopP99Ms: 3, peakRssBytes: 4 },
      ...{ slopeMbPerHour: undefined, active: 5, pressure: 'calm' },
    }),
    overloaded: () => false,
    catalogsTooLarge: () => [],
    limits: () => ({}),
    counts: () => ({ calls: 4 }),
    ...more,
  };
  return new Health({ runtime: frozenRuntime().runtime, slot: 1, version: '9', sources });
}

const statuses = (health: Health): number[] =>
  [health.summary(), health.live(), health.ready(), health.startup()].map(({ httpStatus }) => httpStatus);

test('starting: live, but neither started nor ready', () => {
  const health = healthWith();
  assert.equal(health.state(), 'starting');
  assert.deepEqual(statuses(health), [503, 200, 503, 503]);
});

test('started: everything returns 200', () => {
  const health = healthWith();
  health.started();
  assert.equal(health.state(), 'ok');
  assert.deepEqual(statuses(health), [200, 200, 200, 200]);
});

test('overloaded: live and started but not ready, and recovers by itself', () => {
  let isOverloaded = true;
  const health = healthWith({ overloaded: () => isOverloaded });
  health.started();
  assert.equal(health.state(), 'overloaded');
  assert.deepEqual(statuses(health), [503, 200, 503, 200]);
  isOverloaded = false;
  assert.deepEqual(statuses(health), [200, 200, 200, 200]);
});

test('draining: live and started but not ready, permanently', () => {
  const health = healthWith();
  health.started();
  health.draining();
  health.started();
  assert.equal(health.state(), 'draining');
  assert.deepEqual(statuses(health), [503, 200, 503, 200]);
});

test('a failing server or a missing control process makes the hub degraded, never not ready', () => {
  for (const state of ['connecting', 'waiting', 'stopped', 'idle']) {
    const health = healthWith({
      servers: () => [
        { server: 'a', state },
        { server: 'b', state: 'ready' },
      ],
    });
    health.started();
    assert.equal(health.state(), 'degraded', state);
    assert.deepEqual(statuses(health), [200, 200, 200, 200]);
  }
  const alone = healthWith({ controlConnected: () => false });
  alone.started();
  assert.equal(alone.state(), 'degraded');
  assert.deepEqual(statuses(alone), [200, 200, 200, 200]);
  assert.deepEqual(alone.detail().database.state, 'away');
});

test('lists that do not fit in a snapshot make the hub degraded, and are named to whoever may see their server', () => {
  const health = healthWith({ catalogsTooLarge: () => [{ server: 'a', bytes: 7 }] });
  health.started();
  assert.deepEqual([health.state(), health.summary().body], ['degraded', { status: 'degraded' }]);
  assert.deepEqual(health.detail().catalogsTooLarge, [{ server: 'a', bytes: 7 }]);
  assert.deepEqual(health.memberDetail(['a']).catalogsTooLarge, ['a']);
  assert.deepEqual(health.memberDetail(['b']).catalogsTooLarge, []);
});

test('a disabled server, or none at all, is healthy', () => {
  for (const servers of [[], [{ server: 'a', state: 'disabled' }]]) {
    const health = healthWith({ servers: () => servers });
    health.started();
    assert.equal(health.state(), 'ok');
  }
});

test('the public answer is one word; names and figures are in the detail only', () => {
  const health = healthWith();
  health.started();
  assert.deepEqual(health.summary().body, { status: 'ok' });
  const detail = health.detail();
  assert.equal(detail.version, '9');
  assert.deepEqual(detail.process, {
    rssBytes: 1,
    heapBytes: 2,
    loopP99Ms: 3,
    peakRssBytes: 4,
    slopeMbPerHour: undefined,
    active: 5,
    pressure: 'calm',
  });
  assert.deepEqual(detail.counts, { calls: 4 });
  assert.equal(detail.waits, 0);
});

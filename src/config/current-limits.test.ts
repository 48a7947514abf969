/** The limits of a process that follows its configuration. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CurrentLimits, limitsAtConnect } from './current-limits.ts';
import { HUB_LIMITS, LIMIT_NAMES, LIMITS, type LimitName, type Limits, limitsFrom } from './limits.ts';

const DEFAULTS = limitsFrom({});
/** Every limit with another value than its default. */
const OTHERS: Limits = limitsFrom(
  Object.fromEntries(
    LIMIT_NAMES.map((name) => {
      const { default: standard, min, max } = LIMITS[name];
      return [name, standard === max ? min : max];
    }),
  ),
);
const appliedAt = (when: string): LimitName[] => LIMIT_NAMES.filter((name) => LIMITS[name].applies === when);

test('the limits of a configuration and those that modules hold cannot be written', () => {
  const { limits, configured } = new CurrentLimits(DEFAULTS);
  const atConnect = limitsAtConnect(limits);
  for (const object of [DEFAULTS, limits, configured, atConnect] as Record<string, number>[]) {
    assert.ok(Object.isFrozen(object));
    assert.throws(() => {
      object.calls = 1;
    }, TypeError);
    assert.throws(() => Object.assign(object, { calls: 1 }), TypeError);
    assert.throws(() => {
      object.unknown = 1;
    }, TypeError);
  }
});

test('every limit has the value of the newest configuration at once, except those that wait for a restart', () => {
  const current = new CurrentLimits(DEFAULTS);
  const { limits } = current;
  assert.deepEqual(
    LIMIT_NAMES.map((name) => limits[name]),
    LIMIT_NAMES.map((name) => DEFAULTS[name]),
  );
  assert.deepEqual(current.awaitingRestart, []);
  current.adopt(OTHERS);
  for (const name of LIMIT_NAMES)
    assert.equal(limits[name], (LIMITS[name].applies === 'restart' ? DEFAULTS : OTHERS)[name], name);
  assert.deepEqual(current.awaitingRestart, appliedAt('restart'));
  assert.equal(new CurrentLimits(OTHERS).limits.headers, OTHERS.headers, 'the next process has the new value');
  current.adopt(DEFAULTS);
  assert.deepEqual(current.awaitingRestart, [], 'a change that was taken back needs no restart');
});

test('a connection keeps the limits that apply at a reconnect, and follows the others', () => {
  const current = new CurrentLimits(DEFAULTS);
  const before = limitsAtConnect(current.limits);
  current.adopt(OTHERS);
  const after = limitsAtConnect(current.limits);
  for (const name of LIMIT_NAMES) {
    assert.equal(before[name], (LIMITS[name].applies === 'live' ? OTHERS : DEFAULTS)[name], name);
    assert.equal(after[name], current.limits[name], name);
  }
  assert.equal(limitsAtConnect(before).answerBytes, OTHERS.answerBytes, 'the next one, from the limits of the last');
  assert.equal(limitsAtConnect(DEFAULTS), DEFAULTS);
});

test('followers are called once for a change, and not for the same limits again', () => {
  const current = new CurrentLimits(DEFAULTS);
  let calls = 0;
  current.onChange(() => {
    calls += 1;
  });
  assert.equal(current.adopt({ ...DEFAULTS }), false);
  assert.equal(current.adopt({ ...DEFAULTS, workers: 2 }), false, 'nothing in force has changed');
  assert.deepEqual(current.awaitingRestart, ['workers']);
  assert.equal(current.adopt({ ...DEFAULTS, calls: 7 }), true);
  assert.equal(calls, 1);
});

test('what the process can have is applied to every configuration', () => {
  const adjust = (wanted: Limits): Limits => ({ ...wanted, connections: Math.min(wanted.connections, 1000) });
  const current = new CurrentLimits(DEFAULTS, { adjust });
  assert.equal(current.limits.connections, 1000);
  current.adopt({ ...DEFAULTS, connections: 500 });
  assert.equal(current.limits.connections, 500);
  current.adopt({ ...DEFAULTS, connections: 50_000 });
  assert.equal(current.limits.connections, 1000);
  assert.equal(current.configured.connections, 50_000);
});

test('the first configuration replaces provisional limits, also those that wait for a restart later', () => {
  const current = new CurrentLimits(DEFAULTS, { isProvisional: true });
  current.adopt({ ...DEFAULTS, workers: 3 });
  assert.equal(current.limits.workers, 3);
  current.adopt({ ...DEFAULTS, workers: 4 });
  assert.equal(current.limits.workers, 3);
});

test('the supervisor keeps only what needs a start of the hub', () => {
  const current = new CurrentLimits(DEFAULTS, { keeps: HUB_LIMITS });
  current.adopt(OTHERS);
  for (const name of appliedAt('restart'))
    assert.equal(current.limits[name], (HUB_LIMITS.has(name) ? DEFAULTS : OTHERS)[name], name);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type FrozenRuntime, frozenRuntime } from '../../test/support/frozen-runtime.ts';
import { principalOf } from '../../test/support/small-worlds.ts';
import { type Limits, limitsFrom } from '../config/limits.ts';
import { isRefusal, type Outcome } from '../model/outcome.ts';
import { ANONYMOUS_PRINCIPAL } from '../model/principal.ts';
import { Admission, type Permit } from './gate.ts';
import type { PressureLevel } from './pressure.ts';

function gateWith(limits: Partial<Limits>): { gate: Admission; frozen: FrozenRuntime } {
  const frozen = frozenRuntime();
  return { gate: new Admission({ runtime: frozen.runtime, limits: { ...limitsFrom({}), ...limits } }), frozen };
}

function permit(outcome: Outcome<Permit>): Permit {
  assert.ok(!isRefusal(outcome), isRefusal(outcome) ? outcome.message : '');
  return outcome;
}

function refused(outcome: Outcome<Permit>): { code: string; setting: unknown; retryAfterMs: number | undefined } {
  assert.ok(isRefusal(outcome));
  return { code: outcome.code, setting: outcome.detail.setting, retryAfterMs: outcome.detail.retryAfterMs };
}

test('limits the calls of one key, while another is served', () => {
  const { gate } = gateWith({ keyInFlight: 2 });
  const [a, b] = [principalOf('a'), principalOf('b')];
  const first = permit(gate.admit(a, 'tools/call'));
  permit(gate.admit(a, 'tools/call'));
  assert.deepEqual(refused(gate.admit(a, 'tools/call')), {
    code: 'key-busy',
    setting: 'keyInFlight',
    retryAfterMs: 1000,
  });
  permit(gate.admit(b, 'tools/call'));
  assert.equal(gate.inFlight, 3);
  first[Symbol.dispose]();
  permit(gate.admit(a, 'tools/call'));
});

test('a key at its limit may still reply and cancel, so that its calls can end', () => {
  const { gate } = gateWith({ keyInFlight: 1 });
  permit(gate.admit(principalOf('a'), 'tools/call'));
  permit(gate.admit(principalOf('a'), undefined));
  permit(gate.admit(principalOf('a'), 'notifications/cancelled'));
  assert.equal(refused(gate.admit(principalOf('a'), 'tools/list')).code, 'key-busy');
});

test('returns the refusal of a key before its call is read, without taking a permit', () => {
  const { gate, frozen } = gateWith({ keyInFlight: 1, keyPerSecond: 2 });
  assert.equal(gate.refusalFor('a', 'call'), undefined, 'nobody has called yet');
  const one = permit(gate.admit(principalOf('a'), 'tools/call', 'a'));
  const busy = gate.refusalFor('a', 'call');
  assert.equal(busy?.code, 'key-busy');
  assert.equal(gate.refusalFor('a', 'call'), busy, 'one object, so that its answer is made once');
  assert.equal(gate.refusalFor('b', 'call'), undefined);
  one[Symbol.dispose]();
  for (let times = 0; times < 10; times += 1)
    assert.equal(gate.refusalFor('a', 'call'), undefined, 'asking takes no token');
  permit(gate.admit(principalOf('a'), 'tools/call', 'a'))[Symbol.dispose]();
  assert.equal(gate.refusalFor('a', 'call')?.code, 'rate-limited');
  frozen.advance(1000);
  assert.equal(gate.refusalFor('a', 'call'), undefined);
  assert.equal(gate.inFlight, 0);
});

test('accepts replies and cancellations while hub and key are full; only the rate limit refuses them early', () => {
  const { gate } = gateWith({ calls: 2, keyInFlight: 2, keyPerSecond: 4 });
  const calls = [1, 2].map(() => permit(gate.admit(principalOf('a'), 'tools/call', 'a')));
  assert.equal(gate.refusalFor('a', 'call')?.code, 'key-busy');
  assert.equal(gate.refusalFor('b', 'call')?.code, 'overloaded');
  assert.equal(gate.refusalFor('a', 'unknown'), undefined);
  assert.equal(gate.refusalFor('b', 'unknown'), undefined);
  for (const method of [undefined, 'notifications/cancelled'])
    permit(gate.admit(principalOf('a'), method, 'a'))[Symbol.dispose]();
  assert.equal(gate.inFlight, 2, 'it holds no place');
  assert.equal(gate.refusalFor('a', 'large')?.code, 'rate-limited');
  assert.equal(gate.refusalFor('b', 'large'), undefined);
  assert.equal(gate.refusalFor('a', 'unknown')?.code, 'rate-limited');
  for (const call of calls) call[Symbol.dispose]();
  assert.equal(gate.inFlight, 0);
  gate.close();
  assert.equal(gate.refusalFor('b', 'unknown')?.code, 'draining');
});

test('a request that is not a call counts only against the rate of its key', () => {
  const { gate, frozen } = gateWith({ calls: 1, keyInFlight: 1, keyPerSecond: 3 });
  const call = permit(gate.admit(principalOf('a'), 'tools/call', 'a'));
  assert.equal(gate.countRequest('a'), undefined, 'also while the key and the hub are full');
  assert.equal(gate.countRequest('a'), undefined);
  const refusal = gate.countRequest('a');
  assert.deepEqual([refusal?.code, refusal?.detail.retryAfterMs], ['rate-limited', 1000]);
  assert.equal(gate.refusalFor('a', 'unknown')?.code, 'rate-limited');
  assert.equal(gate.countRequest('b'), undefined, 'another key has a rate of its own');
  call[Symbol.dispose]();
  assert.equal(gate.inFlight, 0, 'it holds no place');
  frozen.advance(1000);
  gate.close();
  assert.equal(gate.countRequest('a'), undefined, 'a hub that drains ends sessions and resumes streams');
});

test('keys of one family share their limits', () => {
  const { gate } = gateWith({ keyInFlight: 1 });
  permit(gate.admit(principalOf('a', { keyId: 'old' }), 'tools/call'));
  assert.equal(refused(gate.admit(principalOf('a', { keyId: 'rotated' }), 'tools/call')).code, 'key-busy');
});

test('releases a permit once, however often it is disposed', () => {
  const { gate } = gateWith({ keyInFlight: 1 });
  const one = permit(gate.admit(principalOf('a'), 'tools/call'));
  const two = permit(gate.admit(principalOf('b'), 'tools/call'));
  one[Symbol.dispose]();
  one[Symbol.dispose]();
  assert.equal(gate.inFlight, 1);
  two[Symbol.dispose]();
  assert.equal(gate.inFlight, 0);
  permit(gate.admit(principalOf('a'), 'tools/call'));
  assert.equal(refused(gate.admit(principalOf('a'), 'tools/call')).code, 'key-busy');
});

test('refuses all calls when the hub is full; a refusal takes no permit', () => {
  const { gate } = gateWith({ calls: 2 });
  const first = permit(gate.admit(principalOf('a'), 'tools/call'));
  permit(gate.admit(principalOf('b'), 'tools/call'));
  for (let tries = 0; tries < 10; tries += 1)
    assert.deepEqual(refused(gate.admit(principalOf('c'), 'tools/call')), {
      code: 'overloaded',
      setting: 'calls',
      retryAfterMs: 1000,
    });
  assert.equal(gate.inFlight, 2);
  first[Symbol.dispose]();
  permit(gate.admit(principalOf('c'), 'tools/call'));
});

test('limits the rate of a key, and refills it over time', () => {
  const { gate, frozen } = gateWith({ keyPerSecond: 2 });
  const come = (): Outcome<Permit> => {
    const outcome = gate.admit(principalOf('a'), 'tools/call');
    if (!isRefusal(outcome)) outcome[Symbol.dispose]();
    return outcome;
  };
  permit(come());
  permit(come());
  assert.equal(refused(come()).code, 'rate-limited');
  frozen.advance(500);
  permit(come());
  assert.equal(refused(come()).code, 'rate-limited');
});

test('refuses everything new after close(), and keeps calls in flight', () => {
  const { gate } = gateWith({});
  const inside = permit(gate.admit(principalOf('a'), 'tools/call'));
  gate.close();
  assert.equal(refused(gate.admit(principalOf('a'), 'tools/call')).code, 'draining');
  assert.equal(gate.inFlight, 1);
  inside[Symbol.dispose]();
  assert.equal(gate.inFlight, 0);
});

test('gives each key its fair share when the hub is nearly full, so that no flood excludes others', () => {
  const { gate } = gateWith({ calls: 100, keyInFlight: 1000 });
  const [flood, other] = [principalOf('flood'), principalOf('other')];
  let inside = 0;
  while (!isRefusal(gate.admit(flood, 'tools/call'))) inside += 1;
  assert.equal(inside, 100, 'alone it may have all');
  const second = gateWith({ calls: 100, keyInFlight: 1000 }).gate;
  const others = Array.from({ length: 10 }, () => permit(second.admit(other, 'tools/call')));
  let taken = 0;
  while (!isRefusal(second.admit(flood, 'tools/call'))) taken += 1;
  assert.equal(taken, 65, 'up to three quarters in all, for its fair half is 50');
  assert.equal(refused(second.admit(flood, 'tools/call')).code, 'overloaded');
  permit(second.admit(other, 'tools/call'));
  for (const one of others) one[Symbol.dispose]();
});

test('under pressure sheds anonymous new sessions first, then all new work, never what ends work', () => {
  let level: PressureLevel = 'calm';
  const gate = new Admission({ runtime: frozenRuntime().runtime, limits: limitsFrom({}), pressure: () => level });
  const known = principalOf('a');
  const unknown = { ...principalOf('anonymous'), role: 'anonymous' as const };
  const table = (): string =>
    [
      gate.admit(unknown, 'initialize'),
      gate.admit(known, 'initialize'),
      gate.admit(known, 'tools/list'),
      gate.admit(known, 'tools/call'),
      gate.admit(known, 'notifications/cancelled'),
      gate.admit(known, undefined),
    ]
      .map((outcome) => (isRefusal(outcome) ? outcome.code : 'in'))
      .join(' ');
  assert.equal(table(), 'in in in in in in');
  level = 'high';
  assert.equal(table(), 'overloaded in in in in in');
  assert.equal(gate.refusalFor('a', 'work'), undefined);
  level = 'shedding';
  assert.equal(table(), 'overloaded overloaded overloaded overloaded in in');
  assert.equal(gate.refusalFor('a', 'work')?.code, 'overloaded');
  assert.equal(gate.refusalFor('a', 'call'), undefined, 'it may be one that is never shed');
  assert.equal(gate.refusalFor('a', 'unknown'), undefined, 'it may end a call');
  assert.equal(gate.refusalFor('a', 'large')?.code, 'overloaded', 'its body would take memory');
});

test('charges calls without a key to their address, and never evicts a busy one', () => {
  const frozen = frozenRuntime();
  const limits = { ...limitsFrom({}), keyInFlight: 2, calls: 100 };
  const gate = new Admission({ runtime: frozen.runtime, limits });
  const enter = (owner: string) => gate.admit(ANONYMOUS_PRINCIPAL, 'tools/call', owner);
  assert.deepEqual([enter('address:1'), enter('address:1')].map(isRefusal), [false, false]);
  assert.ok(isRefusal(enter('address:1')));
  assert.ok(!isRefusal(enter('address:2')));
  for (let n = 0; n < 30_000; n += 1) {
    const permit = enter(`address:x${n}`);
    if (!isRefusal(permit)) permit[Symbol.dispose]();
  }
  assert.ok(isRefusal(enter('address:1')), 'its two calls are still inside');
});

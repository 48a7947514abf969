import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type FrozenKernel, frozenKernel } from '../../test/support/frozen-kernel.ts';
import { principalOf } from '../../test/support/small-worlds.ts';
import { type Limits, limitsFrom } from '../config/limits.ts';
import { isRefusal, type Outcome } from '../kernel/outcome.ts';
import { ANONYMOUS_PRINCIPAL } from '../kernel/principal.ts';
import { type Admission, createAdmission, type Permit } from './gate.ts';
import type { PressureLevel } from './pressure.ts';

function gateWith(limits: Partial<Limits>): { gate: Admission; frozen: FrozenKernel } {
  const frozen = frozenKernel();
  return { gate: createAdmission({ kernel: frozen.kernel, limits: { ...limitsFrom({}), ...limits } }), frozen };
}

function permit(outcome: Outcome<Permit>): Permit {
  assert.ok(!isRefusal(outcome), isRefusal(outcome) ? outcome.message : '');
  return outcome;
}

function refused(outcome: Outcome<Permit>): { code: string; setting: unknown; retryAfterMs: number | undefined } {
  assert.ok(isRefusal(outcome));
  return { code: outcome.code, setting: outcome.detail.setting, retryAfterMs: outcome.detail.retryAfterMs };
}

test('one key cannot take more than its share, and another is served meanwhile', () => {
  const { gate } = gateWith({ keyInFlight: 2 });
  const [a, b] = [principalOf('a'), principalOf('b')];
  const first = permit(gate.enter(a, 'tools/call'));
  permit(gate.enter(a, 'tools/call'));
  assert.deepEqual(refused(gate.enter(a, 'tools/call')), {
    code: 'key-busy',
    setting: 'keyInFlight',
    retryAfterMs: 1000,
  });
  permit(gate.enter(b, 'tools/call'));
  assert.equal(gate.inside, 3);
  first[Symbol.dispose]();
  permit(gate.enter(a, 'tools/call'));
});

test('a key at its limit may still answer and cancel, so that its calls can end', () => {
  const { gate } = gateWith({ keyInFlight: 1 });
  permit(gate.enter(principalOf('a'), 'tools/call'));
  permit(gate.enter(principalOf('a'), undefined));
  permit(gate.enter(principalOf('a'), 'notifications/cancelled'));
  assert.equal(refused(gate.enter(principalOf('a'), 'tools/list')).code, 'key-busy');
});

test('the refusal by limits of a key is known before its call is read, and takes nothing', () => {
  const { gate, frozen } = gateWith({ keyInFlight: 1, keyPerSecond: 2 });
  assert.equal(gate.refusalFor('a', 'call'), undefined, 'nobody has called yet');
  const one = permit(gate.enter(principalOf('a'), 'tools/call', 'a'));
  const busy = gate.refusalFor('a', 'call');
  assert.equal(busy?.code, 'key-busy');
  assert.equal(gate.refusalFor('a', 'call'), busy, 'one object, so that its answer is made once');
  assert.equal(gate.refusalFor('b', 'call'), undefined);
  one[Symbol.dispose]();
  for (let times = 0; times < 10; times += 1)
    assert.equal(gate.refusalFor('a', 'call'), undefined, 'asking takes no token');
  permit(gate.enter(principalOf('a'), 'tools/call', 'a'))[Symbol.dispose]();
  assert.equal(gate.refusalFor('a', 'call')?.code, 'rate-limited');
  frozen.advance(1000);
  assert.equal(gate.refusalFor('a', 'call'), undefined);
  assert.equal(gate.inside, 0);
});

test('a reply or cancellation is taken while the hub and the key are full, and is refused early by the rate only', () => {
  const { gate } = gateWith({ calls: 2, keyInFlight: 2, keyPerSecond: 4 });
  const calls = [1, 2].map(() => permit(gate.enter(principalOf('a'), 'tools/call', 'a')));
  assert.equal(gate.refusalFor('a', 'call')?.code, 'key-busy');
  assert.equal(gate.refusalFor('b', 'call')?.code, 'overloaded');
  assert.equal(gate.refusalFor('a', 'unknown'), undefined);
  assert.equal(gate.refusalFor('b', 'unknown'), undefined);
  for (const method of [undefined, 'notifications/cancelled'])
    permit(gate.enter(principalOf('a'), method, 'a'))[Symbol.dispose]();
  assert.equal(gate.inside, 2, 'it holds no place');
  assert.equal(gate.refusalFor('a', 'large')?.code, 'rate-limited');
  assert.equal(gate.refusalFor('b', 'large'), undefined);
  assert.equal(gate.refusalFor('a', 'unknown')?.code, 'rate-limited');
  for (const call of calls) call[Symbol.dispose]();
  assert.equal(gate.inside, 0);
  gate.close();
  assert.equal(gate.refusalFor('b', 'unknown')?.code, 'draining');
});

test('a request that is no call takes of the rate only, and brings the calls of its key to it', () => {
  const { gate, frozen } = gateWith({ calls: 1, keyInFlight: 1, keyPerSecond: 3 });
  const call = permit(gate.enter(principalOf('a'), 'tools/call', 'a'));
  assert.equal(gate.countRequest('a'), undefined, 'also while the key and the hub are full');
  assert.equal(gate.countRequest('a'), undefined);
  const refusal = gate.countRequest('a');
  assert.deepEqual([refusal?.code, refusal?.detail.retryAfterMs], ['rate-limited', 1000]);
  assert.equal(gate.refusalFor('a', 'unknown')?.code, 'rate-limited');
  assert.equal(gate.countRequest('b'), undefined, 'another key has a rate of its own');
  call[Symbol.dispose]();
  assert.equal(gate.inside, 0, 'it holds no place');
  frozen.advance(1000);
  gate.close();
  assert.equal(gate.countRequest('a'), undefined, 'a hub that drains ends sessions and resumes streams');
});

test('the keys of one family share one allowance', () => {
  const { gate } = gateWith({ keyInFlight: 1 });
  permit(gate.enter(principalOf('a', { keyId: 'old' }), 'tools/call'));
  assert.equal(refused(gate.enter(principalOf('a', { keyId: 'rotated' }), 'tools/call')).code, 'key-busy');
});

test('a permit is given back once, however often it is disposed of', () => {
  const { gate } = gateWith({ keyInFlight: 1 });
  const one = permit(gate.enter(principalOf('a'), 'tools/call'));
  const two = permit(gate.enter(principalOf('b'), 'tools/call'));
  one[Symbol.dispose]();
  one[Symbol.dispose]();
  assert.equal(gate.inside, 1);
  two[Symbol.dispose]();
  assert.equal(gate.inside, 0);
  permit(gate.enter(principalOf('a'), 'tools/call'));
  assert.equal(refused(gate.enter(principalOf('a'), 'tools/call')).code, 'key-busy');
});

test('when the hub is full everybody is refused, and a refusal takes no place', () => {
  const { gate } = gateWith({ calls: 2 });
  const first = permit(gate.enter(principalOf('a'), 'tools/call'));
  permit(gate.enter(principalOf('b'), 'tools/call'));
  for (let tries = 0; tries < 10; tries += 1)
    assert.deepEqual(refused(gate.enter(principalOf('c'), 'tools/call')), {
      code: 'overloaded',
      setting: 'calls',
      retryAfterMs: 1000,
    });
  assert.equal(gate.inside, 2);
  first[Symbol.dispose]();
  permit(gate.enter(principalOf('c'), 'tools/call'));
});

test('a key comes as fast as its rate allows, and again when time has passed', () => {
  const { gate, frozen } = gateWith({ keyPerSecond: 2 });
  const come = (): Outcome<Permit> => {
    const outcome = gate.enter(principalOf('a'), 'tools/call');
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

test('a closed gate refuses everything new and keeps what is inside', () => {
  const { gate } = gateWith({});
  const inside = permit(gate.enter(principalOf('a'), 'tools/call'));
  gate.close();
  assert.equal(refused(gate.enter(principalOf('a'), 'tools/call')).code, 'draining');
  assert.equal(gate.inside, 1);
  inside[Symbol.dispose]();
  assert.equal(gate.inside, 0);
});

test('a hub that is nearly full gives each key its fair share, and no flood locks others out', () => {
  const { gate } = gateWith({ calls: 100, keyInFlight: 1000 });
  const [flood, other] = [principalOf('flood'), principalOf('other')];
  let inside = 0;
  while (!isRefusal(gate.enter(flood, 'tools/call'))) inside += 1;
  assert.equal(inside, 100, 'alone it may have all');
  const second = gateWith({ calls: 100, keyInFlight: 1000 }).gate;
  const others = Array.from({ length: 10 }, () => permit(second.enter(other, 'tools/call')));
  let taken = 0;
  while (!isRefusal(second.enter(flood, 'tools/call'))) taken += 1;
  assert.equal(taken, 65, 'up to three quarters in all, for its fair half is 50');
  assert.equal(refused(second.enter(flood, 'tools/call')).code, 'overloaded');
  permit(second.enter(other, 'tools/call'));
  for (const one of others) one[Symbol.dispose]();
});

test('under pressure new sessions of unknown people go first, then all new work, and what ends work never', () => {
  let level: PressureLevel = 'calm';
  const gate = createAdmission({ kernel: frozenKernel().kernel, limits: limitsFrom({}), pressure: () => level });
  const known = principalOf('a');
  const unknown = { ...principalOf('anonymous'), role: 'anonymous' as const };
  const table = (): string =>
    [
      gate.enter(unknown, 'initialize'),
      gate.enter(known, 'initialize'),
      gate.enter(known, 'tools/list'),
      gate.enter(known, 'tools/call'),
      gate.enter(known, 'notifications/cancelled'),
      gate.enter(known, undefined),
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

test('an address that calls without a key has a share of its own, and one that is busy is not forgotten', () => {
  const frozen = frozenKernel();
  const limits = { ...limitsFrom({}), keyInFlight: 2, calls: 100 };
  const gate = createAdmission({ kernel: frozen.kernel, limits });
  const enter = (owner: string) => gate.enter(ANONYMOUS_PRINCIPAL, 'tools/call', owner);
  assert.deepEqual([enter('address:1'), enter('address:1')].map(isRefusal), [false, false]);
  assert.ok(isRefusal(enter('address:1')));
  assert.ok(!isRefusal(enter('address:2')));
  for (let n = 0; n < 30_000; n += 1) {
    const permit = enter(`address:x${n}`);
    if (!isRefusal(permit)) permit[Symbol.dispose]();
  }
  assert.ok(isRefusal(enter('address:1')), 'its two calls are still inside');
});

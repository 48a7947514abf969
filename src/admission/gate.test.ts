import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type FrozenKernel, frozenKernel } from '../../test/support/frozen-kernel.ts';
import { principalOf } from '../../test/support/small-worlds.ts';
import { type Limits, limitsFrom } from '../config/limits.ts';
import { isRefusal, type Outcome } from '../kernel/outcome.ts';
import { type Admission, createAdmission, type Permit } from './gate.ts';

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
  const first = permit(gate.enter(a));
  permit(gate.enter(a));
  assert.deepEqual(refused(gate.enter(a)), { code: 'key-busy', setting: 'keyInFlight', retryAfterMs: 1000 });
  permit(gate.enter(b));
  assert.equal(gate.inside, 3);
  first[Symbol.dispose]();
  permit(gate.enter(a));
});

test('the keys of one family share one allowance', () => {
  const { gate } = gateWith({ keyInFlight: 1 });
  permit(gate.enter(principalOf('a', { keyId: 'old' })));
  assert.equal(refused(gate.enter(principalOf('a', { keyId: 'rotated' }))).code, 'key-busy');
});

test('a permit is given back once, however often it is disposed of', () => {
  const { gate } = gateWith({ keyInFlight: 1 });
  const one = permit(gate.enter(principalOf('a')));
  const two = permit(gate.enter(principalOf('b')));
  one[Symbol.dispose]();
  one[Symbol.dispose]();
  assert.equal(gate.inside, 1);
  two[Symbol.dispose]();
  assert.equal(gate.inside, 0);
  permit(gate.enter(principalOf('a')));
  assert.equal(refused(gate.enter(principalOf('a'))).code, 'key-busy');
});

test('when the hub is full everybody is refused, and a refusal takes no place', () => {
  const { gate } = gateWith({ calls: 2 });
  const first = permit(gate.enter(principalOf('a')));
  permit(gate.enter(principalOf('b')));
  for (let tries = 0; tries < 10; tries += 1)
    assert.deepEqual(refused(gate.enter(principalOf('c'))), {
      code: 'overloaded',
      setting: 'calls',
      retryAfterMs: 1000,
    });
  assert.equal(gate.inside, 2);
  first[Symbol.dispose]();
  permit(gate.enter(principalOf('c')));
});

test('a key comes as fast as its rate allows, and again when time has passed', () => {
  const { gate, frozen } = gateWith({ keyPerSecond: 2 });
  const come = (): Outcome<Permit> => {
    const outcome = gate.enter(principalOf('a'));
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
  const inside = permit(gate.enter(principalOf('a')));
  gate.close();
  assert.equal(refused(gate.enter(principalOf('a'))).code, 'draining');
  assert.equal(gate.inside, 1);
  inside[Symbol.dispose]();
  assert.equal(gate.inside, 0);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { frozenRuntime } from '../../test/support/frozen-runtime.ts';
import { Balancers } from './balancers.ts';

// finding: SR-N6
test('does not take one readiness check, or a burst of them, for a load balancer', () => {
  const frozen = frozenRuntime();
  const balancers = new Balancers(frozen.runtime);
  for (let count = 0; count < 100; count += 1) balancers.asked('192.0.2.1');
  assert.equal(balancers.areWatching, false);
});

test('takes an address that checks every 10 s for a load balancer until it is silent for 30 s', () => {
  const frozen = frozenRuntime();
  const balancers = new Balancers(frozen.runtime);
  for (let count = 0; count < 3; count += 1) {
    assert.equal(balancers.areWatching, false);
    balancers.asked('192.0.2.1');
    frozen.advance(10_000);
  }
  assert.equal(balancers.areWatching, true);
  frozen.advance(20_500);
  assert.equal(balancers.areWatching, false);
});

test('does not add up checks of different addresses', () => {
  const frozen = frozenRuntime();
  const balancers = new Balancers(frozen.runtime);
  for (let count = 0; count < 9; count += 1) {
    balancers.asked(`192.0.2.${count}`);
    frozen.advance(1000);
  }
  assert.equal(balancers.areWatching, false);
});

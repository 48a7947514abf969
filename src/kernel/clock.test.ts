import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { Breaker } from '../resilience/breaker.ts';
import { createKernel } from './kernel.ts';

const HOUR_MS = 3_600_000;

// row F12 · guards src/kernel/clock.ts
test('a wall clock that jumps an hour ahead or back ends no wait early, keeps none, and sticks no breaker', async () => {
  for (const jumpMs of [HOUR_MS, -HOUR_MS]) {
    const kernel = createKernel();
    const bornMs = performance.now();
    const deadline = kernel.deadline(300);
    const ended = new Promise<number>((resolve) => deadline.onEnd(() => resolve(performance.now() - bornMs)));
    const breaker = new Breaker({ failures: 1, openMs: 100, capMs: 200, leaseMs: 100, random: () => 0.5 });
    breaker.failed(kernel.clock.nowMs());
    mock.timers.enable({ apis: ['Date'], now: Date.now() + jumpMs });
    try {
      const tookMs = await ended;
      assert.ok(tookMs >= 290 && tookMs < 1500, `${tookMs} ms`);
      assert.notEqual(breaker.mayProbe(kernel.clock.nowMs()), undefined, 'it may be asked');
    } finally {
      mock.timers.reset();
    }
    await kernel.scope.close(kernel.deadline(100));
  }
});

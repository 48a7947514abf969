import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { Breaker } from '../resilience/breaker.ts';
import { createSystemTimers } from './clock.ts';
import { createRuntime, systemRuntimeOptions } from './runtime.ts';

const HOUR_MS = 3_600_000;

// row F12 · guards src/runtime/clock.ts
test('a wall clock that jumps an hour ahead or back ends no wait early, keeps none, and sticks no breaker', async () => {
  for (const jumpMs of [HOUR_MS, -HOUR_MS]) {
    const runtime = createRuntime();
    const bornMs = performance.now();
    const deadline = runtime.deadline(300);
    const ended = new Promise<number>((resolve) => deadline.onEnd(() => resolve(performance.now() - bornMs)));
    const breaker = new Breaker({ failures: 1, openMs: 100, capMs: 200, leaseMs: 100, random: () => 0.5 });
    breaker.failed(runtime.clock.nowMs());
    mock.timers.enable({ apis: ['Date'], now: Date.now() + jumpMs });
    try {
      const tookMs = await ended;
      assert.ok(tookMs >= 290 && tookMs < 1500, `${tookMs} ms`);
      assert.notEqual(breaker.mayProbe(runtime.clock.nowMs()), undefined, 'it may be asked');
    } finally {
      mock.timers.reset();
    }
    await runtime.scope.close(runtime.deadline(100));
  }
});

/** Holds the loop as input does that never ends: each step may run what is late. */
function handleInput(ms: number, step: () => void): void {
  const endMs = performance.now() + ms;
  while (performance.now() < endMs) step();
}

test('periodic timers and deadlines run on time from the input path while the runtime runs none', () => {
  const timers = createSystemTimers();
  const runtime = createRuntime({ ...systemRuntimeOptions, timers });
  let heartbeats = 0;
  const heartbeat = timers.every(100, () => {
    heartbeats += 1;
  });
  const bornMs = performance.now();
  let endedMs = 0;
  using deadline = runtime.deadline(200);
  deadline.onEnd(() => {
    endedMs = performance.now() - bornMs;
  });
  handleInput(320, () => {});
  assert.deepEqual([heartbeats, endedMs], [0, 0], 'the runtime itself runs nothing meanwhile');
  heartbeat[Symbol.dispose]();
  using again = timers.every(100, () => {
    heartbeats += 1;
  });
  const atMs = performance.now();
  handleInput(1000, () => timers.runLate(performance.now()));
  again[Symbol.dispose]();
  // Each may be late by twice the lateness from which it is run.
  assert.ok(heartbeats >= 4 && heartbeats <= 10, `${heartbeats} heartbeats in a second`);
  assert.ok(endedMs > 0 && endedMs < atMs - bornMs + 200, `the deadline ended at ${endedMs} ms`);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { frozenRuntime } from '../../../test/support/frozen-runtime.ts';
import { limitsFrom } from '../../config/limits.ts';
import { Scope } from '../../runtime/scope.ts';
import { ListRefresh } from './list-refresh.ts';

/**
 * Plays a server that announces a change every 50 ms for `forMs`; `isNew`: whether the list differs each time. Returns
 * when it was read.
 */
async function readings(
  forMs: number,
  isNew: boolean,
): Promise<{ times: number[]; relist: ListRefresh; more: (ms: number) => Promise<void> }> {
  const { runtime, advanceAsync } = frozenRuntime();
  const scope = new Scope('test', { faulted: (_, fault) => assert.fail(String(fault)), stuck: assert.fail });
  const times: number[] = [];
  const startMs = runtime.clock.nowMs();
  const relist = new ListRefresh({ runtime, limits: limitsFrom({}) }, scope, async () => {
    times.push(runtime.clock.nowMs() - startMs);
    return isNew;
  });
  for (let ms = 0; ms < forMs; ms += 50) {
    relist.soon();
    await advanceAsync(50);
  }
  return { times, relist, more: (ms) => advanceAsync(ms) };
}

// finding: SR-M6
test('reads a list that changes each time less and less often, once a minute at last', async () => {
  const { times } = await readings(300_000, true);
  const gaps = times.slice(1).map((at, index) => at - (times[index] ?? 0));
  assert.ok(times.length <= 20, `${times.length} readings in five minutes`);
  assert.ok((times[0] ?? 0) <= 1000, 'the first change is read within a second');
  assert.ok(
    gaps.slice(0, 7).every((gap) => gap <= 1000),
    `the first changes are followed at once: ${gaps.join()}`,
  );
  for (let index = 8; index < 14; index += 1)
    assert.ok((gaps[index] ?? 0) >= 1.8 * (gaps[index - 1] ?? 0), `pauses double: ${gaps.join()}`);
  assert.ok(
    gaps.slice(15).every((gap) => gap >= 59_000 && gap <= 61_000),
    gaps.join(),
  );
});

test('reads a changed list at once again after a quiet time', async () => {
  const { times, relist, more } = await readings(20_000, true);
  await more(120_000);
  const before = times.length;
  relist.soon();
  await more(1000);
  assert.equal(times.length, before + 1);
});

test('reads a list that turns out the same every two seconds at most', async () => {
  const { times } = await readings(20_000, false);
  assert.ok(times.length >= 9 && times.length <= 11, `${times.length}`);
});

/**
 * The text of a long list is built over several turns of the event loop, once for all callers.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { frozenRuntime } from '../../test/support/frozen-runtime.ts';
import { joinSteps } from './_json-list.ts';
import { ListJson } from './_list-json.ts';

const ROW = Buffer.from(JSON.stringify({ name: 'x'.repeat(100_000) }));
const ROWS = Array<Buffer>(20).fill(ROW);
const CHARS = ROWS.length * ROW.length;

function counted(rows: readonly Buffer[]): { json: ListJson; steps: () => number } {
  let steps = 0;
  const json = new ListJson(function* () {
    const inner = joinSteps(rows);
    for (;;) {
      const step = inner.next();
      if (step.done) return step.value;
      steps += 1;
      yield;
    }
  });
  return { json, steps: () => steps };
}

test('builds a long list one piece in each turn, once for all callers', async () => {
  const { runtime, advanceAsync } = frozenRuntime();
  const { json, steps } = counted(ROWS);
  const first = json.prepare(CHARS, runtime);
  assert.equal(json.prepare(CHARS, runtime), first);
  await Promise.resolve();
  assert.ok(steps() <= 1, `${steps()} pieces in the first turn`);
  assert.equal(json.isReady, false);
  await advanceAsync(1000);
  await first;
  assert.ok(steps() >= 6, `${steps()} pieces`);
  assert.equal(json.prepare(CHARS, runtime), undefined);
  assert.deepEqual(JSON.parse(json.text().toString()), JSON.parse(`[${ROWS.join(',')}]`));
});

test('builds a short list at once, and a long one when a caller cannot wait', async () => {
  const { runtime, advanceAsync } = frozenRuntime();
  const short = counted([ROW]);
  assert.equal(short.json.prepare(ROW.length, runtime), undefined);
  assert.equal(counted([]).json.text().toString(), '[]');
  const { json } = counted(ROWS);
  const preparing = json.prepare(CHARS, runtime);
  const text = json.text();
  await advanceAsync(1000);
  await preparing;
  assert.equal(json.text(), text, 'the same buffer every time');
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ContainerLimits } from '../../runtime/container-limits.ts';
import { RequestTable } from './request-table.ts';

const tableOf = (reuseFrom?: number) =>
  new RequestTable<number>('upstream.in-flight', new ContainerLimits(), reuseFrom);

// case: SV18
test('ids of a connection count up from 1 and stay below a million however many requests are answered', () => {
  const table = tableOf();
  let largest = 0;
  for (let nth = 1; nth <= 2_500_000; nth += 1) {
    const id = table.add((own) => own);
    if (nth <= 900_000) assert.equal(id, nth);
    largest = Math.max(largest, id);
    table.free(id, true);
  }
  assert.ok(largest < 1_000_000, String(largest));
});

// case: SV18
test('an id is used again only after thousands of other requests, and never when it was not answered', () => {
  const table = tableOf(1000);
  const last = new Map<number, number>();
  const unanswered = new Set<number>();
  for (let nth = 1; nth <= 300_000; nth += 1) {
    const id = table.add((own) => own);
    assert.ok(!unanswered.has(id), `${id} may still be answered`);
    const rest = nth - (last.get(id) ?? Number.NEGATIVE_INFINITY);
    assert.ok(rest > 4000, `${id} after ${rest}`);
    last.set(id, nth);
    const isAnswered = nth % 100 !== 0;
    if (!isAnswered) unanswered.add(id);
    table.free(id, isAnswered);
  }
});

test('finds each request in flight and nothing else, in whatever order they begin and end', () => {
  fc.assert(
    fc.property(fc.array(fc.nat({ max: 40 }), { maxLength: 400 }), fc.boolean(), (steps, reuses) => {
      const table = tableOf(reuses ? 1 : undefined);
      const open: number[] = [];
      for (const step of steps) {
        if (step % 3 !== 0) open.push(table.add((id) => id * 2));
        else if (open.length > 0) table.free(open.splice(step % open.length, 1)[0] as number, step % 2 === 0);
        assert.equal(table.size, open.length);
        assert.equal(new Set(open).size, open.length);
        for (const id of open) assert.equal(table.at(id), id * 2);
        assert.deepEqual([...table.values()].sort(), open.map((id) => id * 2).sort());
      }
    }),
  );
});

test('refuses a request when 8192 are in flight', () => {
  const table = tableOf();
  for (let nth = 0; nth < 8192; nth += 1) assert.ok(table.add((id) => id) > 0);
  assert.equal(
    table.add((id) => id),
    -1,
  );
  table.free(5, true);
  assert.ok(table.add((id) => id) > 8192);
});

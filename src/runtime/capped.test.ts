// covers: L2
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { CappedCount, CappedMap, ContainerLimits } from './capped.ts';
import { CappedQueue } from './capped-queue.ts';
import { CappedSlots } from './capped-slots.ts';

test('a full map refuses new keys or forgets the least recently used, and counts it', () => {
  const ceilings = new ContainerLimits();
  const refusing = new CappedMap<string, number>('refusing', 2, 'refuse', ceilings);
  assert.deepEqual(
    [refusing.set('a', 1), refusing.set('b', 2), refusing.set('c', 3), refusing.set('a', 4)],
    [true, true, false, true],
  );
  const dropped: string[] = [];
  const forgetting = new CappedMap<string, number>('forgetting', 2, 'drop-oldest', ceilings, (key) =>
    dropped.push(key),
  );
  forgetting.set('a', 1);
  forgetting.set('b', 2);
  forgetting.get('a');
  forgetting.set('c', 3);
  assert.deepEqual(dropped, ['b']);
  assert.deepEqual(
    ceilings.table().map((row) => [row.name, row.size, row.max, row.overflowed]),
    [
      ['forgetting', 2, 2, 1],
      ['refusing', 2, 2, 1],
    ],
  );
});

test('dropping the oldest entry of a full map costs the same however large the map is', () => {
  const cost = (max: number): number => {
    const map = new CappedMap<number, number>('m', max, 'drop-oldest', new ContainerLimits());
    for (let key = 0; key < max; key += 1) map.set(key, key);
    const beforeUs = process.cpuUsage().user;
    for (let key = max; key < max + 50_000; key += 1) map.set(key, key);
    return process.cpuUsage().user - beforeUs;
  };
  cost(10);
  const [few, many] = [cost(10), cost(50_000)];
  assert.ok(many < few * 4 + 100_000, `${many} µs with 50,000 entries, ${few} µs with 10`);
});

test('no container ever holds more than its maximum, whatever is done to it', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(2), fc.nat(20)), { maxLength: 200 }), (steps) => {
      const ceilings = new ContainerLimits();
      const map = new CappedMap<number, number>('m', 5, 'drop-oldest', ceilings);
      const queue = new CappedQueue<number>('q', 5, 'drop-oldest', ceilings);
      const slots = new CappedSlots<number>('s', 5, ceilings);
      const held: number[] = [];
      const model: number[] = [];
      for (const [kind, value] of steps) {
        if (kind === 0) {
          map.set(value, value);
          queue.push(value);
          if (model.length === 5) model.shift();
          model.push(value);
          const slot = slots.add(value);
          if (slot >= 0) held.push(slot);
        } else if (kind === 1) {
          assert.equal(queue.shift(), model.shift());
          const slot = held.pop();
          if (slot !== undefined) slots.free(slot);
        } else map.delete(value);
        assert.ok(map.size <= 5 && queue.size <= 5 && slots.size <= 5);
        assert.equal(slots.size, held.length);
        assert.deepEqual([...queue.values()], model);
      }
    }),
  );
});

test('a slot that is freed twice is given out once', () => {
  const slots = new CappedSlots<string>('s', 4, new ContainerLimits());
  const a = slots.add('a');
  slots.free(a);
  slots.free(a);
  assert.notEqual(slots.add('b'), slots.add('c'));
  assert.equal(slots.size, 2);
});

test('a count never passes its maximum nor falls below nothing', () => {
  const count = new CappedCount('c', 3, 'refuse', new ContainerLimits());
  assert.deepEqual([count.take(2), count.take(2), count.take(1), count.take(1)], [true, false, true, false]);
  count.give(10);
  assert.equal(count.size, 0);
});

test('containers of one name are summed on the page, and leave it when put away', () => {
  const ceilings = new ContainerLimits();
  const a = new CappedQueue<number>('queue', 3, 'refuse', ceilings);
  const b = new CappedQueue<number>('queue', 4, 'refuse', ceilings);
  a.push(1);
  b.push(2);
  assert.deepEqual(ceilings.table(), [{ name: 'queue', size: 2, max: 7, peak: 1, rule: 'refuse', overflowed: 0 }]);
  b[Symbol.dispose]();
  assert.equal(ceilings.table()[0]?.max, 3);
});

test('a container follows a maximum that changes: growing counts at once, shrinking drops or refuses as its rule says', () => {
  let max = 3;
  const size = (): number => max;
  const ceilings = new ContainerLimits();
  const dropped: number[] = [];
  const forgetting = new CappedMap<number, number>('forgetting', size, 'drop-oldest', ceilings, (key) =>
    dropped.push(key),
  );
  const refusing = new CappedMap<number, number>('refusing', size, 'refuse', ceilings);
  const oldestFirst = new CappedQueue<number>('queue', size, 'drop-oldest', ceilings);
  const slots = new CappedSlots<number>('slots', size, ceilings);
  const count = new CappedCount('count', size, 'refuse', ceilings);
  using _ = new CappedCount('fixed', 3, 'refuse', ceilings);
  const fill = (upTo: number): boolean[][] =>
    Array.from({ length: upTo }, (_, key) => [
      forgetting.set(key, key),
      refusing.set(key, key),
      slots.add(key) >= 0,
      count.take(),
    ]);
  for (let key = 0; key < 4; key += 1) oldestFirst.push(key);
  fill(3);
  max = 5;
  assert.equal(count.take(), false, 'not before the containers were resized');
  ceilings.resize();
  assert.equal(count.take(2), true);
  assert.equal(slots.add(9) >= 0, true);
  assert.equal(refusing.set(9, 9), true);
  assert.equal(forgetting.set(9, 9), true);
  assert.deepEqual(dropped, []);
  max = 1;
  ceilings.resize();
  assert.deepEqual(
    ceilings.table().map((row) => [row.name, row.size, row.max]),
    [
      ['count', 5, 1],
      ['fixed', 0, 3],
      ['forgetting', 4, 1],
      ['queue', 3, 1],
      ['refusing', 4, 1],
      ['slots', 4, 1],
    ],
  );
  assert.deepEqual([count.take(), slots.add(1), refusing.set(10, 1)], [false, -1, false], 'nothing above it grows');
  assert.equal(refusing.set(9, 8), true, 'what is in there stays, and can be changed');
  forgetting.set(10, 10);
  assert.equal(forgetting.size, 4);
  assert.equal([...ceilings.shrinkSteps()].length, 0, 'a few entries take one step');
  assert.deepEqual([forgetting.size, dropped, oldestFirst.size], [1, [0, 1, 2, 9], 1]);
  assert.deepEqual([refusing.size, slots.size, count.size], [4, 4, 5], 'what a rule does not drop stays');
  oldestFirst.push(7);
  assert.deepEqual([...oldestFirst.values()], [7]);
  count.give(5);
  assert.deepEqual([count.take(), count.take()], [true, false], 'until it has shrunk');
});

test('a large container shrinks in many steps, each of a few entries', () => {
  let max = 1000;
  const ceilings = new ContainerLimits();
  const map = new CappedMap<number, number>('m', () => max, 'drop-oldest', ceilings);
  for (let key = 0; key < 1000; key += 1) map.set(key, key);
  max = 10;
  ceilings.resize();
  const sizes = [1000];
  for (const _ of ceilings.shrinkSteps()) sizes.push(map.size);
  assert.equal(map.size, 10);
  const drops = sizes.slice(1).map((size, at) => (sizes[at] ?? 0) - size);
  assert.ok(drops.length > 10 && Math.max(...drops) <= 100, `${drops}`);
});

// covers: L2
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { CappedCount, CappedMap, CappedQueue, CappedSlots, ContainerLimits } from './capped.ts';

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

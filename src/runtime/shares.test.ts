import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ANONYMOUS_PRINCIPAL, LOCAL_PRINCIPAL, shareOf } from '../model/principal.ts';
import { ContainerLimits } from './capped.ts';
import { FairCount, FairMap } from './shares.ts';

test('a key that fills a map loses its own oldest entries and never those of another key', () => {
  const dropped: number[] = [];
  const map = new FairMap<number, string>('m', { max: 8, share: 8 }, 'evict-greediest', new ContainerLimits(), (key) =>
    dropped.push(key),
  );
  map.set('b', 1, 'b');
  map.set('b', 2, 'b');
  for (let key = 10; key < 50; key += 1) assert.equal(map.set('a', key, 'a'), true);
  assert.deepEqual([map.sizeOf('a'), map.sizeOf('b'), map.size], [6, 2, 8]);
  assert.deepEqual([map.get(1), map.get(2), dropped[0]], ['b', 'b', 10]);
  assert.equal(map.set('c', 3, 'c'), true);
  assert.deepEqual([map.sizeOf('a'), map.sizeOf('b'), map.sizeOf('c')], [5, 2, 1]);
});

test('the keys of an owner are listed, and those of others are not', () => {
  const map = new FairMap<number, string>('m', { max: 8, share: 8 }, 'evict-greediest', new ContainerLimits());
  for (const [owner, key] of [
    ['a', 1],
    ['b', 2],
    ['a', 3],
  ] as const)
    map.set(owner, key, owner);
  map.delete(1);
  map.set('a', 4, 'a');
  assert.deepEqual([map.keysOf('a'), map.keysOf('b'), map.keysOf('c')], [[3, 4], [2], []]);
});

test('an owner at its share loses its own oldest entry while the map has room', () => {
  const map = new FairMap<number, number>('m', { max: 100, share: 2 }, 'evict-greediest', new ContainerLimits());
  for (const key of [1, 2, 3]) map.set('a', key, key);
  assert.deepEqual(
    [...map.entries()],
    [
      [2, 2],
      [3, 3],
    ],
  );
  map.get(2);
  map.set('a', 4, 4);
  assert.deepEqual([...map.keys()], [2, 4]);
});

test('a refusing map refuses the owner above its share, and keeps places for owners that hold less', () => {
  const ceilings = new ContainerLimits();
  const map = new FairMap<string, number>('m', { max: 8, share: 8 }, 'refuse', ceilings);
  let taken = 0;
  while (map.set('a', `a${taken}`, 0)) taken += 1;
  assert.equal(taken, 6);
  assert.deepEqual([map.set('b', 'b0', 0), map.set('a', 'again', 0), map.set('b', 'b1', 0)], [true, false, true]);
  assert.deepEqual([map.set('a', 'a2', 7), map.get('a2')], [true, 7]);
  assert.deepEqual(
    ceilings.table().map(({ name, size, max, share, overflowed }) => ({ name, size, max, share, overflowed })),
    [{ name: 'm', size: 8, max: 8, share: 8, overflowed: 2 }],
  );
});

test('a count says whether the share or the total is used up', () => {
  const count = new FairCount('c', 100, 40, 'refuse', new ContainerLimits());
  assert.equal(count.take('a', 40), 'taken');
  assert.equal(count.take('a'), 'share');
  assert.equal(count.take('b', 30), 'taken');
  assert.equal(count.take('c', 31), 'full');
  assert.equal(count.take('c', 20), 'taken');
  assert.equal(count.greediest, 'a');
  count.give('a', 1000);
  count.give('a', 1);
  assert.deepEqual([count.sizeOf('a'), count.size, count.owners], [0, 50, 2]);
});

test('an owner cannot take the last quarter of a count from owners that hold less', () => {
  const count = new FairCount('c', 16, 16, 'refuse', new ContainerLimits());
  while (count.take('a') === 'taken');
  while (count.take('b') === 'taken');
  assert.deepEqual([count.sizeOf('a'), count.sizeOf('b'), count.take('a')], [12, 4, 'share']);
  const one = new FairCount('c', 1, 1, 'refuse', new ContainerLimits());
  assert.deepEqual([one.take('a'), one.take('b')], ['taken', 'full']);
  const bytes = new FairCount('c', 1000, 1000, 'refuse', new ContainerLimits());
  assert.deepEqual([bytes.take('a', 900), bytes.take('a', 50), bytes.take('b', 100)], ['taken', 'share', 'taken']);
});

test('no owner ever exceeds its share, no map its maximum, and only the greediest loses an entry', () => {
  const step = fc.record({ kind: fc.nat(3), owner: fc.constantFrom('a', 'b', 'c', 'd'), key: fc.nat(30) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), fc.boolean(), (steps, evicts) => {
      const model = new Map<number, { owner: string }>();
      const heldBy = (owner: string) => [...model.values()].filter((one) => one.owner === owner).length;
      const map = new FairMap<number, number>(
        'm',
        { max: 10, share: 6 },
        evicts ? 'evict-greediest' : 'refuse',
        new ContainerLimits(),
        (key) => {
          const owner = model.get(key)?.owner as string;
          const most = Math.max(...['a', 'b', 'c', 'd'].map(heldBy));
          assert.ok(heldBy(owner) === most || heldBy(owner) >= 6 || heldBy(owner) + 1 >= most);
          model.delete(key);
        },
      );
      for (const { kind, owner, key } of steps) {
        if (kind === 3) {
          assert.equal(map.delete(key), model.delete(key));
        } else if (!model.has(key) || model.get(key)?.owner === owner) {
          if (map.set(owner, key, key)) model.set(key, { owner });
          else assert.ok(!evicts);
        }
        assert.ok(map.size <= 10 && map.sizeOf(owner) <= 6);
        assert.deepEqual(new Set(map.keys()), new Set(model.keys()));
        assert.equal(map.sizeOf(owner), heldBy(owner));
        assert.equal(map.owners, new Set([...model.values()].map((one) => one.owner)).size);
      }
    }),
  );
});

test('a count never passes its total or a share, whatever is taken and given', () => {
  const step = fc.record({ takes: fc.boolean(), owner: fc.constantFrom('a', 'b', 'c'), amount: fc.nat(50) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const count = new FairCount('c', 100, 60, 'refuse', new ContainerLimits());
      const held = new Map<string, number>();
      for (const { takes, owner, amount } of steps) {
        const mine = held.get(owner) ?? 0;
        if (!takes) {
          count.give(owner, amount);
          held.set(owner, Math.max(0, mine - amount));
        } else if (count.take(owner, amount) === 'taken') held.set(owner, mine + amount);
        assert.equal(count.sizeOf(owner), held.get(owner) ?? 0);
        assert.ok(count.size <= 100 && count.sizeOf(owner) <= 60);
        const most = Math.max(0, ...held.values());
        assert.ok(most === 0 || count.sizeOf(count.greediest ?? '') * 2 >= most);
      }
    }),
  );
});

test('inserting into a full map costs the same however many entries and owners it has', () => {
  const cost = (owners: number): number => {
    const max = owners * 10;
    const map = new FairMap<number, number>('m', { max, share: max }, 'evict-greediest', new ContainerLimits());
    for (let n = 0; n < max; n += 1) map.set(`o${n % owners}`, n, n);
    const beforeUs = process.cpuUsage().user;
    for (let n = 0; n < 20_000; n += 1) map.set('greedy', max + n, n);
    return process.cpuUsage().user - beforeUs;
  };
  cost(10);
  const [few, many] = [cost(10), cost(5000)];
  assert.ok(many < few * 4 + 100_000, `${many} µs with 5,000 owners, ${few} µs with 10`);
});

test('a share belongs to the key family, and without a key to the address or its IPv6 network', () => {
  assert.equal(shareOf(LOCAL_PRINCIPAL, '10.0.0.1'), 'local');
  const bare = (address: string) => shareOf(ANONYMOUS_PRINCIPAL, address);
  assert.equal(bare('10.0.0.1'), 'address:10.0.0.1');
  assert.equal(bare('::ffff:10.0.0.1'), 'address:10.0.0.1');
  assert.equal(bare('2001:db8::1'), 'address:2001:db8:0:0::/64');
  assert.equal(bare('2001:0DB8:0:0:ffff::2'), bare('2001:db8::1'));
  assert.equal(bare('2001:db8:0:1::1'), 'address:2001:db8:0:1::/64');
  assert.equal(bare('::1'), 'address:0:0:0:0::/64');
  assert.equal(bare('fe80::1%eth0'), 'address:fe80:0:0:0::/64');
});

test('shares follow limits that change: an owner above a lower share loses its own oldest, or is refused', () => {
  let [max, share] = [10, 8];
  const ceilings = new ContainerLimits();
  const dropped: number[] = [];
  const bounds = { max: () => max, share: () => share };
  const map = new FairMap<number, number>('map', bounds, 'evict-greediest', ceilings, (key) => dropped.push(key));
  const refusing = new FairMap<number, number>('refusing', bounds, 'refuse', ceilings);
  const count = new FairCount('count', bounds.max, bounds.share, 'refuse', ceilings);
  for (let key = 0; key < 6; key += 1) {
    map.set('a', key, key);
    refusing.set('a', key, key);
    count.take('a');
  }
  for (let key = 10; key < 12; key += 1) map.set('b', key, key);
  [max, share] = [20, 4];
  ceilings.resize();
  assert.deepEqual([refusing.set('a', 6, 6), count.take('a')], [false, 'share']);
  assert.equal(count.take('b'), 'taken');
  for (const _ of ceilings.shrinkSteps());
  assert.deepEqual([map.sizeOf('a'), map.sizeOf('b'), dropped], [4, 2, [0, 1]]);
  assert.deepEqual([refusing.size, count.sizeOf('a')], [6, 6], 'what refuses drops nothing');
  [max, share] = [3, 4];
  ceilings.resize();
  assert.deepEqual(
    ceilings.table().map((row) => [row.name, row.max, row.share]),
    [
      ['count', 3, 3],
      ['map', 3, 3],
      ['refusing', 3, 3],
    ],
  );
  for (const _ of ceilings.shrinkSteps());
  assert.equal(map.size, 3);
  assert.ok(map.sizeOf('b') >= 1, 'the owner that holds most loses first');
  [max, share] = [100, 50];
  ceilings.resize();
  assert.deepEqual([refusing.set('a', 6, 6), count.take('a', 30)], [true, 'taken']);
});

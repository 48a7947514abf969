import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import type { Connection } from './connection.ts';
import { ReadPacing } from './read-pacing.ts';

function rig(names: readonly string[]) {
  const connections = new Map<Socket, Connection>();
  const nameOf = new Map<Socket, string>();
  const read = new Set<string>(names);
  for (const name of names) {
    const socket = {
      destroyed: false,
      pause: () => void read.delete(name),
      resume: () => void read.add(name),
    } as unknown as Socket;
    nameOf.set(socket, name);
    connections.set(socket, { open: undefined, isHeld: false, readAtMs: -1000 } as unknown as Connection);
  }
  const reads = new ReadPacing({
    limits: { connections: 10_000 },
    connections,
    ownerOf: (socket) => {
      const [owner] = (nameOf.get(socket) ?? '').split(' ');
      return owner === 'proxy' ? undefined : owner;
    },
  });
  const socketOf = (name: string): Socket => [...nameOf].find(([, other]) => other === name)?.[0] as Socket;
  const connectionOf = (name: string): Connection => connections.get(socketOf(name)) as Connection;
  return { reads, read, socketOf, connectionOf };
}

const numbered = (owner: string, count: number): string[] => Array.from({ length: count }, (_, at) => `${owner} ${at}`);

/** A request has come on each of these. */
function send({ connectionOf }: ReturnType<typeof rig>, names: Iterable<string>): void {
  for (const name of names) Object.assign(connectionOf(name), { open: {} as ServerResponse });
}

test('connections without a request under way are held, and read again in bounded numbers while they have sent something', () => {
  const one = rig(numbered('a', 200));
  const { reads, read } = one;
  send(one, ['a 7']);
  reads.hold(0, false);
  assert.deepEqual([...read], ['a 7']);
  assert.equal(reads.held, 199);
  const sizes: number[] = [];
  for (let turn = 1; reads.held > 0; turn += 1) {
    reads.release(turn);
    send(one, read);
    sizes.push(read.size);
  }
  assert.deepEqual(sizes, [65, 129, 193, 200]);
});

test('connections with a request under way are held when many end at once', () => {
  const one = rig(numbered('a', 200));
  send(one, numbered('a', 200));
  one.reads.hold(0, true);
  assert.equal(one.read.size, 0);
  one.reads.release(1);
  assert.equal(one.read.size, 64);
});

test('silent connections are read again in growing numbers', () => {
  const { reads, read } = rig(numbered('a', 5000));
  reads.hold(0, false);
  const sizes: number[] = [];
  let before = 0;
  for (let turn = 1; reads.held > 0; turn += 1) {
    reads.release(turn);
    sizes.push(read.size - before);
    before = read.size;
  }
  assert.deepEqual(sizes, [64, 128, 256, 512, 1024, 1024, 1024, 968]);
});

test('owners take turns, and a connection that many clients share takes turns by itself', () => {
  const { reads, read } = rig([...numbered('a', 500), 'b 0', ...numbered('proxy', 30), 'c 0']);
  reads.hold(0, false);
  reads.release(1);
  for (const name of ['a 0', 'b 0', 'c 0', ...numbered('proxy', 30)]) assert.ok(read.has(name), name);
});

test('connections of many addresses without a key do not delay those of keys', () => {
  const silent = Array.from({ length: 500 }, (_, at) => `address:10.0.0.${at} 0`);
  const { reads, read } = rig([...silent, ...numbered('a', 40), ...numbered('b', 8)]);
  reads.hold(0, false);
  reads.release(1);
  for (const name of [...numbered('a', 40), ...numbered('b', 8)]) assert.ok(read.has(name), name);
  assert.equal(read.size, 64, 'and a quarter are of the others');
});

test('a connection that was read again is free for a while', () => {
  const { reads, read } = rig(numbered('a', 100));
  reads.hold(0, false);
  reads.release(1);
  reads.hold(2, false);
  assert.equal(read.size, 64);
  reads.hold(102, false);
  assert.equal(read.size, 0);
  assert.equal(reads.held, 100, 'each waits once');
});

test('a held connection that has closed takes no turn', () => {
  const { reads, read, socketOf } = rig(numbered('a', 100));
  reads.hold(0, false);
  for (const name of numbered('a', 50)) Object.assign(socketOf(name), { destroyed: true });
  reads.release(1);
  assert.equal(read.size, 50);
  assert.equal(reads.held, 0);
});

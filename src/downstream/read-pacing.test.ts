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
    connections.set(socket, { open: undefined, isHeld: false, releasedIn: -1 } as unknown as Connection);
  }
  const reads = new ReadPacing({
    limits: { connections: 1000 },
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

test('connections without a request under way are held, and read again in bounded numbers', () => {
  const { reads, read, connectionOf } = rig(numbered('a', 200));
  Object.assign(connectionOf('a 7'), { open: {} as ServerResponse });
  reads.hold(1);
  assert.deepEqual([...read], ['a 7']);
  assert.equal(reads.held, 199);
  const sizes: number[] = [];
  for (let turn = 2; reads.held > 0; turn += 1) {
    reads.release(turn);
    sizes.push(read.size);
  }
  assert.deepEqual(sizes, [65, 129, 193, 200]);
});

test('owners take turns, and a connection that many clients share takes turns by itself', () => {
  const { reads, read } = rig([...numbered('a', 500), 'b 0', ...numbered('proxy', 30), 'c 0']);
  reads.hold(1);
  reads.release(2);
  for (const name of ['a 0', 'b 0', 'c 0', ...numbered('proxy', 30)]) assert.ok(read.has(name), name);
});

test('a connection is not held again in the turn in which it was released', () => {
  const { reads, read } = rig(numbered('a', 100));
  reads.hold(1);
  reads.release(2);
  reads.hold(2);
  assert.equal(read.size, 64);
  reads.hold(3);
  assert.equal(read.size, 0);
  assert.equal(reads.held, 100, 'each waits once');
});

test('a held connection that has closed takes no turn', () => {
  const { reads, read, socketOf } = rig(numbered('a', 100));
  reads.hold(1);
  for (const name of numbered('a', 50)) Object.assign(socketOf(name), { destroyed: true });
  reads.release(2);
  assert.equal(read.size, 50);
  assert.equal(reads.held, 0);
});

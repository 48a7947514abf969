import assert from 'node:assert/strict';
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import { frozenRuntime } from '../../test/support/frozen-runtime.ts';
import { ConnectionTable, countConnectionFor } from './connection-table.ts';

const PROXY = '10.9.9.9';

function rig(max = 8, { perAddress = 100, perKey = 100 } = {}) {
  const frozen = frozenRuntime();
  const closed: string[] = [];
  const names = new Map<Socket, string>();
  const table = new ConnectionTable({
    runtime: frozen.runtime,
    limits: { connections: max, connectionsPerAddress: perAddress, connectionsPerKey: perKey },
    name: 'test',
    proxies: { has: (address) => address === PROXY },
    close: (socket, isNew) => closed.push(`${names.get(socket)}${isNew ? '' : ' kept'}`),
  });
  const connect = (name: string, remoteAddress: string | undefined): Socket | undefined => {
    const socket = { remoteAddress } as Socket;
    names.set(socket, name);
    return table.admit(socket) ? socket : undefined;
  };
  /** A connection on which a request of this key was answered. */
  const keep = (name: string, key: string, address = '10.0.0.1'): Socket | undefined => {
    const socket = connect(name, address);
    if (!socket) return undefined;
    table.begins(socket);
    countConnectionFor({ socket } as IncomingMessage, key);
    table.rests(socket);
    return socket;
  };
  /** A connection on which a request of this key is pending. */
  const run = (name: string, key: string, address = '10.0.0.1'): Socket | undefined => {
    const socket = connect(name, address);
    if (!socket) return undefined;
    table.begins(socket);
    countConnectionFor({ socket } as IncomingMessage, key);
    return socket;
  };
  return { table, closed, connect, keep, run, advance: (ms: number) => frozen.advance(ms) };
}

test('when all places are taken, the address with most new connections loses its oldest', () => {
  const { table, closed, connect } = rig();
  connect('honest', '10.0.0.1');
  for (let at = 0; at < 7; at += 1) connect(`evil ${at}`, '10.6.6.6');
  assert.ok(connect('another', '10.0.0.2'));
  assert.deepEqual(closed, ['evil 0']);
  for (let at = 7; at < 20; at += 1) connect(`evil ${at}`, '10.6.6.6');
  assert.ok(closed.every((name) => name.startsWith('evil')));
  assert.equal(table.size, 8);
});

test('addresses of one IPv6 network share', () => {
  const { closed, connect } = rig();
  connect('honest', '2001:db8:1::1');
  for (let at = 0; at < 8; at += 1) connect(`evil ${at}`, `2001:db8:2::${at + 1}`);
  assert.deepEqual(closed, ['evil 0']);
});

test('a connection counts for its key once a request on it has been identified', () => {
  const { closed, connect, keep } = rig();
  // Behind one address: a key with one connection, and one with six.
  keep('small', 'key a');
  for (let at = 0; at < 6; at += 1) keep(`large ${at}`, 'key b');
  connect('new', '10.0.0.1');
  assert.ok(connect('newest', '10.0.0.2'));
  assert.deepEqual(closed, ['large 0 kept']);
});

// finding: SR-A1
test('when no connection waits, the owner with most requests under way loses the oldest of them', () => {
  const { table, closed, connect } = rig(4);
  for (const name of ['one', 'two', 'three']) table.begins(connect(name, '10.0.0.1') as Socket);
  table.begins(connect('other', '10.0.0.3') as Socket);
  assert.ok(connect('newcomer', '10.0.0.2'));
  assert.deepEqual(closed, ['one kept']);
  assert.equal(table.size, 4);
});

// finding: SR-A1
test('kept connections of keys stay when an address has more requests under way', () => {
  const { table, closed, connect, keep } = rig(8);
  for (const name of ['a', 'b', 'c']) keep(name, 'key');
  for (let at = 0; at < 5; at += 1) table.begins(connect(`slow ${at}`, '10.6.6.6') as Socket);
  assert.ok(connect('newcomer', '10.0.0.2'));
  assert.deepEqual(closed, ['slow 0 kept']);
});

test('a key keeps the requests under way on three quarters of the places, however many connections come without a key', () => {
  const { table, closed, connect, run, advance } = rig(16);
  for (let at = 0; at < 16; at += 1) run(`run ${at}`, 'key a');
  for (let at = 0; at < 100; at += 1) {
    connect(`silent ${at}`, `10.1.0.${at}`);
    advance(100);
  }
  const cut = closed.filter((name) => name.startsWith('run'));
  assert.deepEqual(cut, ['run 0 kept', 'run 1 kept', 'run 2 kept', 'run 3 kept']);
  assert.equal(table.size, 16);
});

test('requests of many addresses that are under way for long give way, those of a key do not', () => {
  const { closed, connect, run, table, advance } = rig(8);
  for (let at = 0; at < 6; at += 1) run(`run ${at}`, 'key a');
  for (const name of ['slow 0', 'slow 1']) table.begins(connect(name, `10.1.0.${name.at(-1)}`) as Socket);
  assert.equal(connect('early', '10.0.0.9'), undefined);
  advance(1100);
  assert.ok(connect('newcomer', '10.0.0.9'));
  assert.deepEqual(closed, ['slow 0 kept']);
});

test('a key that holds all places with requests under way keeps none of another key out', () => {
  const { closed, run } = rig(16);
  for (let at = 0; at < 16; at += 1) run(`evil ${at}`, 'key evil');
  for (let at = 0; at < 8; at += 1) assert.ok(run(`honest ${at}`, 'key honest', '10.0.0.2'));
  assert.equal(closed.length, 8);
  assert.ok(closed.every((name) => name.startsWith('evil')));
});

test('a connection that waits with its first request goes before a request under way of a key', () => {
  const { closed, connect, run, advance } = rig(16);
  for (let at = 0; at < 15; at += 1) run(`run ${at}`, 'key a');
  connect('silent', '10.0.0.8');
  advance(1100);
  assert.ok(connect('newcomer', '10.0.0.9'));
  assert.deepEqual(closed, ['silent']);
});

test('requests under way stay when no owner has more than one, and a newcomer is refused', () => {
  const { table, closed, connect } = rig(2);
  table.begins(connect('one', '10.0.0.1') as Socket);
  table.begins(connect('two', '10.0.0.2') as Socket);
  assert.equal(connect('three', '10.0.0.3'), undefined);
  assert.deepEqual(closed, []);
});

// finding: SR-A1
test('a connection that has sent nothing for a second gives way, though it is the only one of its address', () => {
  const { closed, connect, advance } = rig(2);
  connect('one', '10.0.0.1');
  connect('two', '10.0.0.2');
  advance(1100);
  assert.ok(connect('three', '10.0.0.3'));
  assert.deepEqual(closed, ['one']);
});

// finding: SR-A1
test('a kept connection stays while others have sent nothing', () => {
  const { closed, connect, keep, advance } = rig(3);
  keep('kept', 'key a');
  connect('silent', '10.0.0.1');
  connect('silent too', '10.0.0.2');
  advance(1100);
  assert.ok(connect('newcomer', '10.0.0.3'));
  assert.deepEqual(closed, ['silent']);
});

// finding: SR-A1
test('silent connections of many addresses go before the two of a key', () => {
  const { closed, connect, keep, advance } = rig(512);
  keep('kept', 'key a');
  keep('kept too', 'key a');
  for (let at = 0; at < 510; at += 1) connect(`silent ${at}`, `10.1.${at >> 8}.${at & 255}`);
  advance(1100);
  assert.ok(connect('newcomer', '10.0.0.3'));
  assert.deepEqual(closed, ['silent 0']);
});

test('a request that came through a trusted proxy counts for its key while it is under way', () => {
  const { table, closed, connect } = rig(4);
  for (let at = 0; at < 3; at += 1) {
    const socket = connect(`stream ${at}`, PROXY) as Socket;
    table.begins(socket);
    countConnectionFor({ socket } as IncomingMessage, 'key a');
  }
  const idle = connect('idle', PROXY) as Socket;
  table.begins(idle);
  countConnectionFor({ socket: idle } as IncomingMessage, 'key a');
  table.rests(idle);
  assert.ok(connect('newcomer', '10.0.0.2'));
  assert.deepEqual(closed, ['stream 0 kept']);
});

test('a new connection does not push out the only one of another address', () => {
  const { closed, connect } = rig(2);
  connect('one', '10.0.0.1');
  connect('two', '10.0.0.2');
  assert.equal(connect('three', '10.0.0.3'), undefined);
  assert.deepEqual(closed, []);
});

test('when each address has one connection, the oldest gives way after it has had time to send', () => {
  const { closed, connect, advance } = rig(2);
  connect('one', '10.0.0.1');
  advance(60);
  connect('two', '10.0.0.2');
  advance(60);
  assert.ok(connect('three', '10.0.0.3'));
  assert.equal(connect('four', '10.0.0.4'), undefined);
  assert.deepEqual(closed, ['one']);
});

test('trusted proxies and other workers have no share, and their connections stay', () => {
  const { closed, connect } = rig(4, { perAddress: 2 });
  for (let at = 0; at < 3; at += 1) connect(`proxy ${at}`, PROXY);
  connect('worker', undefined);
  assert.equal(connect('direct', '10.0.0.1'), undefined);
  assert.deepEqual(closed, []);
});

test('an owner above its share loses its own oldest, though there is room', () => {
  const { closed, connect, keep } = rig(100, { perAddress: 2, perKey: 3 });
  for (let at = 0; at < 3; at += 1) connect(`new ${at}`, '10.0.0.1');
  assert.deepEqual(closed, ['new 0']);
  for (let at = 0; at < 4; at += 1) keep(`kept ${at}`, 'key a', `10.0.1.${at}`);
  assert.deepEqual(closed, ['new 0', 'kept 0 kept']);
});

test('all places are free again when all have left', () => {
  const { table, connect, keep } = rig();
  const sockets = [connect('a', '10.0.0.1'), keep('b', 'key'), keep('c', 'key')];
  const busy = connect('d', '10.0.0.2') as Socket;
  table.begins(busy);
  for (const socket of [...sockets, busy, busy]) table.leave(socket as Socket);
  assert.equal(table.size, 0);
});

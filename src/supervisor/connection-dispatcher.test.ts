/**
 * The dispatcher with fake workers in this process: a target answers as a channel would, and acknowledges, fails or
 * exits when the test wants it.
 */
// covers: A5, P10
import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { freePort, until } from '../../test/support/hub.ts';
import type { SupervisorMessage } from '../model/supervisor-messages.ts';
import { ConnectionDispatcher, type ConnectionTarget } from './connection-dispatcher.ts';

/** Records what it is sent. */
class FakeTarget implements ConnectionTarget {
  readonly workerId: number;
  isOpen = true;
  readonly got: { n: number; socket: Socket; sent: (fault: Error | null) => void }[] = [];

  constructor(workerId: number) {
    this.workerId = workerId;
  }

  sendConnection(message: SupervisorMessage, socket: Socket, sent: (fault: Error | null) => void): void {
    assert.equal(message.t, 'connection');
    this.got.push({ n: message.t === 'connection' ? message.n : -1, socket, sent });
  }

  /** Answers the client of its last connection through the supervisor's copy. */
  answer(text: string): void {
    this.got.at(-1)?.socket.end(text);
  }

  get last(): number {
    return this.got.at(-1)?.n ?? -1;
  }
}

interface Rig extends AsyncDisposable {
  readonly dispatcher: ConnectionDispatcher;
  readonly reported: readonly number[];
  client(localAddress?: string): { readonly heard: () => string; readonly ended: () => boolean };
}

async function rig(
  options: { handoverMs?: number; handoverQueue?: number; maxConnections?: number } = {},
): Promise<Rig> {
  const limits = {
    connections: 1000,
    handoverMs: options.handoverMs ?? 5000,
    handoverQueue: options.handoverQueue ?? 10,
  };
  const reported: number[] = []; // bounded by: one test
  const dispatcher = new ConnectionDispatcher(limits, options.maxConnections ?? 1000, (connections) =>
    reported.push(connections),
  );
  await dispatcher.listen(await freePort(), '127.0.0.1');
  const clients: Socket[] = [];
  return {
    dispatcher,
    reported,
    client(localAddress) {
      let text = '';
      let over = false;
      const socket = connect({ port: dispatcher.port, host: '127.0.0.1', ...(localAddress ? { localAddress } : {}) });
      socket.setEncoding('utf8');
      socket.on('data', (chunk) => {
        text += chunk;
      });
      socket.on('error', () => {});
      socket.on('close', () => {
        over = true;
      });
      clients.push(socket);
      return { heard: () => text, ended: () => over };
    },
    async [Symbol.asyncDispose]() {
      dispatcher.close();
      for (const client of clients) client.destroy();
    },
  };
}

test('a connection waits while no worker is ready, and goes to the first one that is', async () => {
  await using made = await rig();
  made.client();
  await until(() => made.dispatcher.waiting === 1, 5000, 'the connection is queued');
  const worker = new FakeTarget(1);
  made.dispatcher.add(worker);
  assert.equal(worker.got.length, 1);
  assert.equal(made.dispatcher.waiting, 0);
});

test('a worker gets its next connection when it has acknowledged the last one', async () => {
  await using made = await rig();
  const worker = new FakeTarget(1);
  made.dispatcher.add(worker);
  made.client();
  made.client();
  await until(() => worker.got.length === 1 && made.dispatcher.waiting === 1, 5000, 'one handed, one waiting');
  made.dispatcher.acknowledge(1, worker.last + 7);
  assert.equal(worker.got.length, 1, 'an acknowledgement of another connection changes nothing');
  made.dispatcher.acknowledge(1, worker.last);
  assert.equal(worker.got.length, 2);
  assert.ok(worker.got[0]?.socket.destroyed, 'the copy of the acknowledged connection is closed');
});

test('workers take turns, and one that does not acknowledge is passed over', async () => {
  await using made = await rig();
  const [stuck, other] = [new FakeTarget(1), new FakeTarget(2)];
  made.dispatcher.add(stuck);
  made.dispatcher.add(other);
  for (let at = 0; at < 5; at += 1) {
    made.client();
    await until(() => stuck.got.length + other.got.length === at + 1, 5000, 'the hand-over');
    made.dispatcher.acknowledge(2, other.last);
  }
  assert.equal(stuck.got.length, 1);
  assert.equal(other.got.length, 4);
  assert.ok(made.dispatcher.unacknowledgedMs(1) > 0);
  assert.equal(made.dispatcher.unacknowledgedMs(2), 0);
});

test('the pending connection of a worker that exited goes to another exactly once, even if its send fails later', async () => {
  await using made = await rig();
  const [exited, other] = [new FakeTarget(1), new FakeTarget(2)];
  made.dispatcher.add(exited);
  const client = made.client();
  await until(() => exited.got.length === 1, 5000, 'the hand-over');
  made.dispatcher.add(other);
  made.dispatcher.remove(1);
  exited.isOpen = false;
  exited.got[0]?.sent(new Error('the channel is closed'));
  assert.deepEqual(
    other.got.map(({ n }) => n),
    [exited.last],
  );
  assert.equal(made.dispatcher.waiting, 0);
  other.answer('here');
  await until(() => client.heard() === 'here', 5000, 'the answer of the other worker');
});

test('a send that fails on a closed channel requeues the connection before the exit is known', async () => {
  await using made = await rig();
  const [closed, other] = [new FakeTarget(1), new FakeTarget(2)];
  made.dispatcher.add(closed);
  made.client();
  await until(() => closed.got.length === 1, 5000, 'the hand-over');
  made.dispatcher.add(other);
  closed.isOpen = false;
  closed.got[0]?.sent(new Error('not connected'));
  assert.equal(other.got.length, 1);
  made.client();
  made.dispatcher.acknowledge(2, other.last);
  await until(() => other.got.length === 2, 5000, 'the next one');
  assert.equal(closed.got.length, 1, 'nothing more for the closed channel');
});

test('a connection that cannot be sent is refused, and its worker gets the next ones', async () => {
  await using made = await rig();
  const worker = new FakeTarget(1);
  made.dispatcher.add(worker);
  const client = made.client();
  await until(() => worker.got.length === 1, 5000, 'the hand-over');
  worker.got[0]?.sent(new Error('bad handle'));
  await until(() => client.ended(), 5000, 'the end of the connection');
  made.client();
  await until(() => worker.got.length === 2, 5000, 'the next one');
});

test('a paused worker gets no new connection, but may acknowledge the pending one', async () => {
  await using made = await rig();
  const worker = new FakeTarget(1);
  made.dispatcher.add(worker);
  made.client();
  await until(() => worker.got.length === 1, 5000, 'the hand-over');
  made.dispatcher.pause(1);
  made.dispatcher.acknowledge(1, worker.last);
  made.client();
  await until(() => made.dispatcher.waiting === 1, 5000, 'the next one waits');
  assert.equal(worker.got.length, 1);
});

test('a connection that has waited for handoverMs gets a 503 and is closed', async () => {
  await using made = await rig({ handoverMs: 300 });
  const client = made.client();
  await until(() => client.ended(), 5000, 'the end');
  assert.match(client.heard(), /^HTTP\/1\.1 503 .*retry-after: 1.*"code":"starting"/s);
  const [head = '', body = ''] = client.heard().split('\r\n\r\n');
  assert.equal(Number(/content-length: (\d+)/.exec(head)?.[1]), Buffer.byteLength(body));
  assert.equal(made.dispatcher.refused, 1);
  await until(() => made.reported.length > 0, 2000, 'the report');
  assert.deepEqual(made.reported, [1]);
});

test('no more connections wait than the descriptors allow', async () => {
  await using made = await rig({ maxConnections: 2 });
  const clients = Array.from({ length: 4 }, () => made.client());
  await until(() => clients.filter(({ ended }) => ended()).length === 2, 2000, 'two are turned away');
});

test('no more than handoverQueue connections wait: the others get a 503 at once', async () => {
  await using made = await rig({ handoverQueue: 3 });
  const clients = Array.from({ length: 5 }, () => made.client());
  await until(() => clients.filter((client) => client.ended()).length === 2, 5000, 'two turned away');
  assert.equal(made.dispatcher.waiting, 3);
});

// finding: SR-A2
test('a flood from one address does not delay another address, whose connection is the next but one', async () => {
  await using at = await rig({ handoverQueue: 10 });
  const flood = Array.from({ length: 30 }, () => at.client('127.0.0.66'));
  await until(() => flood.filter((client) => client.heard().includes('503')).length === 20, 2000);
  const other = at.client('127.0.0.2');
  await until(() => flood.filter((client) => client.heard().includes('503')).length === 21, 2000);
  assert.equal(at.dispatcher.waiting, 10);
  const target = new FakeTarget(1);
  at.dispatcher.add(target);
  at.dispatcher.acknowledge(1, target.last);
  assert.equal(target.got.length, 2);
  target.answer('served');
  await until(() => other.heard() === 'served', 2000);
});

test('closing refuses the connections that wait, and those of workers that exit afterwards', async () => {
  await using made = await rig();
  const worker = new FakeTarget(1);
  made.dispatcher.add(worker);
  const [handed, waits] = [made.client(), made.client()];
  await until(() => worker.got.length === 1 && made.dispatcher.waiting === 1, 5000, 'one handed, one waiting');
  made.dispatcher.close();
  made.dispatcher.remove(1);
  await until(() => handed.ended() && waits.ended(), 5000, 'the end of both');
  assert.equal(made.dispatcher.refused, 2);
});

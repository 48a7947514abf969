/**
 * The door over fake hubs in this process: a taker here says what a channel would say, and takes, refuses or dies when the test wants it.
 */
// covers: A5, P10
import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { freePort, until } from '../../test/support/hub.ts';
import type { GuardWord } from '../kernel/supervisor-messages.ts';
import { Door, type Taker } from './connection-dispatcher.ts';

/** Hands over to nobody: remembers what it was sent. */
class FakeTaker implements Taker {
  readonly slot: number;
  isOpen = true;
  readonly got: { n: number; socket: Socket; sent: (fault: Error | null) => void }[] = [];

  constructor(slot: number) {
    this.slot = slot;
  }

  send(word: GuardWord, socket: Socket, sent: (fault: Error | null) => void): void {
    assert.equal(word.t, 'connection');
    this.got.push({ n: word.t === 'connection' ? word.n : -1, socket, sent });
  }

  /** Answers the client of its last connection through the guard's copy. */
  answer(text: string): void {
    this.got.at(-1)?.socket.end(text);
  }

  get last(): number {
    return this.got.at(-1)?.n ?? -1;
  }
}

interface Rig extends AsyncDisposable {
  readonly door: Door;
  readonly reported: readonly number[];
  client(localAddress?: string): { readonly heard: () => string; readonly ended: () => boolean };
}

async function rig(options: { handoverMs?: number; handoverQueue?: number; room?: number } = {}): Promise<Rig> {
  const limits = { handoverMs: options.handoverMs ?? 5000, handoverQueue: options.handoverQueue ?? 10 };
  const reported: number[] = []; // bounded by: one test
  const door = new Door(limits, options.room ?? 1000, (connections) => reported.push(connections));
  await door.listen(await freePort(), '127.0.0.1');
  const clients: Socket[] = [];
  return {
    door,
    reported,
    client(localAddress) {
      let text = '';
      let over = false;
      const socket = connect({ port: door.port, host: '127.0.0.1', ...(localAddress ? { localAddress } : {}) });
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
      door.close();
      for (const client of clients) client.destroy();
    },
  };
}

test('a connection waits while there is no hub, and goes to the first that opens', async () => {
  await using made = await rig();
  made.client();
  await until(() => made.door.waiting === 1, 5000, 'the connection in the queue');
  const hub = new FakeTaker(1);
  made.door.opened(hub);
  assert.equal(hub.got.length, 1);
  assert.equal(made.door.waiting, 0);
});

test('one connection at a time is on its way to a hub; the next follows when it was taken', async () => {
  await using made = await rig();
  const hub = new FakeTaker(1);
  made.door.opened(hub);
  made.client();
  made.client();
  await until(() => hub.got.length === 1 && made.door.waiting === 1, 5000, 'one handed, one waiting');
  made.door.taken(1, hub.last + 7);
  assert.equal(hub.got.length, 1, 'a word about another connection changes nothing');
  made.door.taken(1, hub.last);
  assert.equal(hub.got.length, 2);
  assert.ok(hub.got[0]?.socket.destroyed, 'the copy of the taken one is closed');
});

test('hubs take turns, and one that does not take is passed over', async () => {
  await using made = await rig();
  const [stuck, other] = [new FakeTaker(1), new FakeTaker(2)];
  made.door.opened(stuck);
  made.door.opened(other);
  for (let at = 0; at < 5; at += 1) {
    made.client();
    await until(() => stuck.got.length + other.got.length === at + 1, 5000, 'the handover');
    made.door.taken(2, other.last);
  }
  assert.equal(stuck.got.length, 1);
  assert.equal(other.got.length, 4);
  assert.ok(made.door.untakenMs(1) > 0);
  assert.equal(made.door.untakenMs(2), 0);
});

test('what a dead hub had not taken goes to another exactly once, also when its send fails afterwards', async () => {
  await using made = await rig();
  const [dead, other] = [new FakeTaker(1), new FakeTaker(2)];
  made.door.opened(dead);
  const client = made.client();
  await until(() => dead.got.length === 1, 5000, 'the handover');
  made.door.opened(other);
  made.door.closed(1);
  dead.isOpen = false;
  dead.got[0]?.sent(new Error('the channel is closed'));
  assert.deepEqual(
    other.got.map(({ n }) => n),
    [dead.last],
  );
  assert.equal(made.door.waiting, 0);
  other.answer('here');
  await until(() => client.heard() === 'here', 5000, 'the answer of the other');
});

test('a send that fails on a closed channel gives the connection to another before the death is known', async () => {
  await using made = await rig();
  const [deaf, other] = [new FakeTaker(1), new FakeTaker(2)];
  made.door.opened(deaf);
  made.client();
  await until(() => deaf.got.length === 1, 5000, 'the handover');
  made.door.opened(other);
  deaf.isOpen = false;
  deaf.got[0]?.sent(new Error('not connected'));
  assert.equal(other.got.length, 1);
  made.client();
  made.door.taken(2, other.last);
  await until(() => other.got.length === 2, 5000, 'the next one');
  assert.equal(deaf.got.length, 1, 'nothing more for the deaf one');
});

test('a connection that cannot travel is turned away, and its hub goes on taking others', async () => {
  await using made = await rig();
  const hub = new FakeTaker(1);
  made.door.opened(hub);
  const client = made.client();
  await until(() => hub.got.length === 1, 5000, 'the handover');
  hub.got[0]?.sent(new Error('bad handle'));
  await until(() => client.ended(), 5000, 'the end of the connection');
  made.client();
  await until(() => hub.got.length === 2, 5000, 'the next one');
});

test('a hub that leaves gets nothing new but may still take what is on its way', async () => {
  await using made = await rig();
  const hub = new FakeTaker(1);
  made.door.opened(hub);
  made.client();
  await until(() => hub.got.length === 1, 5000, 'the handover');
  made.door.left(1);
  made.door.taken(1, hub.last);
  made.client();
  await until(() => made.door.waiting === 1, 5000, 'the next one waits');
  assert.equal(hub.got.length, 1);
});

test('a connection that waited for handoverMs is told 503 and closed', async () => {
  await using made = await rig({ handoverMs: 300 });
  const client = made.client();
  await until(() => client.ended(), 5000, 'the end');
  assert.match(client.heard(), /^HTTP\/1\.1 503 .*retry-after: 1.*"code":"starting"/s);
  const [head = '', body = ''] = client.heard().split('\r\n\r\n');
  assert.equal(Number(/content-length: (\d+)/.exec(head)?.[1]), Buffer.byteLength(body));
  assert.equal(made.door.turnedAway, 1);
  await until(() => made.reported.length > 0, 2000, 'the report');
  assert.deepEqual(made.reported, [1]);
});

test('more than the descriptors allow do not wait either', async () => {
  await using made = await rig({ room: 2 });
  const clients = Array.from({ length: 4 }, () => made.client());
  await until(() => clients.filter(({ ended }) => ended()).length === 2, 2000, 'two are turned away');
});

test('more than handoverQueue do not wait: the others are told at once', async () => {
  await using made = await rig({ handoverQueue: 3 });
  const clients = Array.from({ length: 5 }, () => made.client());
  await until(() => clients.filter((client) => client.ended()).length === 2, 5000, 'two turned away');
  assert.equal(made.door.waiting, 3);
});

// finding: SR-A2
test('a flood from one address does not keep another address out, whose connection is the next but one', async () => {
  await using at = await rig({ handoverQueue: 10 });
  const flood = Array.from({ length: 30 }, () => at.client('127.0.0.66'));
  await until(() => flood.filter((client) => client.heard().includes('503')).length === 20, 2000);
  const other = at.client('127.0.0.2');
  await until(() => flood.filter((client) => client.heard().includes('503')).length === 21, 2000);
  assert.equal(at.door.waiting, 10);
  const taker = new FakeTaker(1);
  at.door.opened(taker);
  at.door.taken(1, taker.last);
  assert.equal(taker.got.length, 2);
  taker.answer('served');
  await until(() => other.heard() === 'served', 2000);
});

test('closing turns away who waits, and who comes back from a dead hub', async () => {
  await using made = await rig();
  const hub = new FakeTaker(1);
  made.door.opened(hub);
  const [handed, waits] = [made.client(), made.client()];
  await until(() => hub.got.length === 1 && made.door.waiting === 1, 5000, 'one handed, one waiting');
  made.door.close();
  made.door.closed(1);
  await until(() => handed.ended() && waits.ended(), 5000, 'the end of both');
  assert.equal(made.door.turnedAway, 2);
});

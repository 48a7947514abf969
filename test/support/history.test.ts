/** The judge of histories sees each kind of wrong; and each toxic of the proxy does what its name says. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { startFaultProxy, type Toxics } from './fault-proxy.ts';
import { canariesIn, canaryOf, judge, type Recorded } from './history.ts';

const GOOD: Recorded = {
  ...{ user: 1, canary: canaryOf(1, 1), tool: 'a_echo', sentMs: 0, endMs: 10, limitMs: 100 },
  ...{ isExcused: false, mayBeSpoilt: false, answers: 1, outcome: 'result', isOwn: true, foreign: 0, afterAnswer: 0 },
};

test('a good history is good, and each wrong one is wrong in its own way', () => {
  const of = (change: Partial<Recorded>) => judge([{ ...GOOD, ...change }], new Map([[GOOD.canary, 1]]));
  assert.deepEqual([of({}).wrong, of({}).latestMs], [[], -90]);
  assert.deepEqual(of({ outcome: 'error', isOwn: false }).wrong, []);
  const kinds: [Partial<Recorded>, keyof ReturnType<typeof judge>['counts']][] = [
    [{ outcome: 'cut', answers: 0 }, 'unanswered'],
    [{ outcome: 'none', answers: 0 }, 'unanswered'],
    [{ answers: 2 }, 'twiceAnswered'],
    [{ outcome: 'unasked' }, 'twiceAnswered'],
    [{ foreign: 1 }, 'foreign'],
    [{ isOwn: false }, 'notOwn'],
    [{ afterAnswer: 1 }, 'after'],
  ];
  for (const [change, kind] of kinds) assert.equal(of(change).counts[kind], 1, JSON.stringify(change));
  assert.equal(of({ endMs: 351 }).latestMs, 251);
  // Who was cut on purpose may be without an answer, and never with another’s.
  assert.deepEqual(of({ isExcused: true, outcome: 'cut', answers: 0, endMs: 9000 }).wrong, []);
  assert.equal(of({ isExcused: true, foreign: 1 }).counts.foreign, 1);
  // Words that the network behind the hub has spoilt are nobody’s fault, but an answer there must be.
  assert.deepEqual(of({ mayBeSpoilt: true, isOwn: false }).wrong, []);
  assert.equal(of({ mayBeSpoilt: true, isOwn: false, foreign: 1 }).counts.foreign, 1);
  assert.equal(of({ mayBeSpoilt: true, outcome: 'none', answers: 0 }).counts.unanswered, 1);
  assert.equal(judge([GOOD], new Map([[GOOD.canary, 2]])).counts.twiceDone, 1);
});

test('a canary that was spoilt on its way is nobody’s', () => {
  const canary = canaryOf(3, 659_608);
  assert.deepEqual(canariesIn(`a ${canary} b`), [canary]);
  for (let at = 'canary-'.length; at < canary.length - 1; at += 1)
    for (const letter of '0123456789-x') {
      if (canary[at] === letter) continue;
      assert.deepEqual(canariesIn(`${canary.slice(0, at)}${letter}${canary.slice(at + 1)}`), [], `${letter} at ${at}`);
    }
});

interface Ends extends AsyncDisposable {
  readonly near: Socket;
  readonly far: Socket;
  /** Bytes that came to the server. */
  readonly came: () => number;
  set(toxics: Toxics): void;
}

async function through(toxics: Toxics): Promise<Ends> {
  let came = 0;
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      came += chunk.length;
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const proxy = await startFaultProxy((server.address() as AddressInfo).port, toxics, 7);
  const near = connect(proxy.port, '127.0.0.1');
  near.on('error', () => {});
  const [far] = (await once(server, 'connection')) as [Socket];
  return {
    ...{ near, far, came: () => came },
    set: (value) => {
      proxy.toxics = value;
    },
    async [Symbol.asyncDispose]() {
      near.destroy();
      await proxy[Symbol.asyncDispose]();
      far.destroy();
      server.close();
    },
  };
}

const pause = (ms: number) => new Promise((done) => setTimeout(done, ms));

/** ms until so many bytes have come, at most two seconds. */
async function arrives({ came }: Ends, bytes: number): Promise<number> {
  const bornMs = performance.now();
  while (came() < bytes && performance.now() - bornMs < 2000) await pause(5);
  return performance.now() - bornMs;
}

test('latency, bandwidth and slices are felt, and every byte arrives', async () => {
  for (const toxics of [{ latencyMs: 120, jitterMs: 20 }, { bytesPerSecond: 8000 }, { sliceBytes: 10, latencyMs: 2 }]) {
    await using ends = await through(toxics);
    ends.near.write(Buffer.alloc(1000));
    const ms = await arrives(ends, 1000);
    assert.equal(ends.came(), 1000, JSON.stringify(toxics));
    assert.ok(ms >= 95, `${JSON.stringify(toxics)}: ${ms} ms`);
  }
});

test('a stall and a black hole hold everything, and let it through when they are over', async () => {
  for (const toxics of [{ stallAfterBytes: 10 }, { blackhole: true }]) {
    await using ends = await through(toxics);
    ends.near.write(Buffer.alloc(100));
    await pause(150);
    assert.equal(ends.came(), 0);
    assert.equal(ends.near.destroyed, false);
    ends.set({});
    await arrives(ends, 100);
    assert.equal(ends.came(), 100);
  }
});

test('resets are resets, a limit is an orderly end, and half-open is heard by nobody', async () => {
  for (const toxics of [{ resetAfterBytes: 10 }, { resetWithinBytes: 20 }]) {
    await using ends = await through(toxics);
    const reset = once(ends.far, 'error') as Promise<[NodeJS.ErrnoException]>;
    ends.near.write(Buffer.alloc(100));
    assert.equal((await reset)[0].code, 'ECONNRESET', JSON.stringify(toxics));
  }
  {
    await using ends = await through({ limitBytes: 10 });
    ends.near.resume();
    ends.near.write(Buffer.alloc(100));
    await Promise.all([once(ends.near, 'end'), once(ends.far, 'end')]);
  }
  await using ends = await through({ halfOpen: true });
  ends.near.resetAndDestroy();
  await pause(150);
  assert.deepEqual([ends.far.destroyed, ends.far.readableEnded], [false, false]);
});

test('garbage changes bytes and not their number; the same seed changes the same', async () => {
  const seen: string[] = [];
  for (let run = 0; run < 2; run += 1) {
    await using ends = await through({ garbagePerMille: 1000, sliceBytes: 8 });
    const text: Buffer[] = [];
    ends.far.on('data', (chunk) => text.push(chunk));
    ends.near.write(Buffer.alloc(64));
    await arrives(ends, 64);
    seen.push(Buffer.concat(text).toString('hex'));
  }
  assert.notEqual(seen[0], '00'.repeat(64));
  assert.equal(seen[0]?.length, 128);
  assert.equal(seen[0], seen[1]);
});

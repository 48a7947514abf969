import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { until } from '../../test/support/hub.ts';
import { keyRecord } from '../../test/support/small-worlds.ts';
import { limitsFrom } from '../config/limits.ts';
import { createRuntime } from '../runtime/runtime.ts';
import { KeysClient } from './keys-client.ts';
import { KeysServer } from './keys-server.ts';

const runtime = createRuntime();
const limits = limitsFrom({});

async function rig(t: TestContext) {
  const dir = await mkdtemp(join(tmpdir(), 'mcphub-keys-'));
  const socketPath = join(dir, 'keys.sock');
  const seen: number[] = [];
  const server = new KeysServer({
    runtime,
    limits,
    socketPath,
    onRevisionSeen: (revision) => void seen.push(revision),
  });
  await server.start(runtime.deadline(2000));
  t.after(async () => {
    await server.stop(runtime.deadline(1000));
    await rm(dir, { recursive: true, force: true });
  });
  const worker = async (slot: number, start = 0) => {
    const has = { keysRevision: start, revision: 0 };
    const ids: string[][] = [];
    const client = new KeysClient({
      ...{ runtime, limits, socketPath, slot },
      applied: () => has,
      onKeys({ keysRevision, keys }) {
        has.keysRevision = Math.max(has.keysRevision, keysRevision);
        ids.push(keys.map(({ id }) => id));
      },
    });
    await client.start(runtime.deadline(1000));
    t.after(() => client.stop(runtime.deadline(1000)));
    return { client, has, ids };
  };
  return { server, socketPath, seen, worker };
}

test('waits for the confirmation of all workers, including one that connects later', async (t) => {
  const { server, worker } = await rig(t);
  const one = await worker(1);
  await until(() => server.workers().length === 1, 2000);
  server.publish({ keysRevision: 4, keys: [keyRecord('a')] });
  const want = { keysRevision: 4, revision: 0 };
  assert.deepEqual(await server.awaitConfirmation(want, 1, runtime.deadline(2000)), []);
  const waiting = server.awaitConfirmation(want, 2, runtime.deadline(2000));
  const two = await worker(2);
  assert.deepEqual(await waiting, []);
  assert.deepEqual([one.ids, two.ids], [[['key-a']], [['key-a']]]);
  assert.ok((one.client.ageMs ?? 9999) < 2000);
});

test('returns a worker that does not confirm at the deadline, without delaying the others', async (t) => {
  const { server, socketPath, worker } = await rig(t);
  const one = await worker(1);
  const silent = connect(socketPath);
  t.after(() => silent.destroy());
  silent.pause();
  silent.write('{"t":"hello","slot":2,"pid":77,"keysRevision":0,"revision":0}\n');
  await until(() => server.workers().length === 2, 2000);
  // More than a socket buffers: only the newest frame waits.
  const many = Array.from({ length: 3000 }, () => keyRecord('b'));
  for (let keysRevision = 1; keysRevision <= 30; keysRevision += 1) server.publish({ keysRevision, keys: many });
  const bornMs = performance.now();
  const missing = await server.awaitConfirmation({ keysRevision: 30, revision: 0 }, 3, runtime.deadline(300));
  assert.ok(performance.now() - bornMs < 1500);
  assert.deepEqual(missing, [
    { hub: 2, message: 'worker 2 (pid 77) has not confirmed' },
    { hub: 3, message: 'worker 3 is not connected to the control process' },
  ]);
  assert.equal(one.has.keysRevision, 30);
});

test('disconnects a worker whose figures are none, and ignores unknown types', async (t) => {
  const { server, socketPath, seen } = await rig(t);
  for (const hello of [
    '{"t":"hello","pid":77,"keysRevision":0,"revision":0}',
    '{"t":"hello","slot":"2","pid":77,"keysRevision":0,"revision":0}',
    '{"t":"hello","slot":2,"pid":77,"revision":0}',
    '{"t":"applied","keysRevision":null,"revision":0}',
  ]) {
    const socket = connect(socketPath);
    socket.write(`${hello}\n`);
    await once(socket.resume(), 'close');
  }
  const newer = connect(socketPath);
  t.after(() => newer.destroy());
  newer.write('{"t":"of tomorrow"}\n{"t":"hello","slot":2,"pid":77,"keysRevision":1,"revision":0}\n');
  await until(() => server.workers().length === 1, 2000);
  assert.deepEqual(seen, [1]);
});

test('reports a worker with a higher revision', async (t) => {
  const { seen, worker } = await rig(t);
  await worker(1, 900);
  await until(() => seen.includes(900), 2000);
});

test('reconnects when the control process is available again', async (t) => {
  const { server, worker } = await rig(t);
  server.publish({ keysRevision: 1, keys: [] });
  const one = await worker(1);
  await until(() => one.has.keysRevision === 1, 2000);
  await server.stop(runtime.deadline(1000));
  server.publish({ keysRevision: 2, keys: [] });
  await server.start(runtime.deadline(2000));
  await until(() => one.has.keysRevision === 2, 4000);
});

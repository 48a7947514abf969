import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { isAlive, tryKill, until } from '../../test/support/hub.ts';
import { limitsFrom } from '../config/limits.ts';
import { DESCENDANT_MARK } from '../model/supervisor-messages.ts';
import { createRuntime } from '../runtime/runtime.ts';
import { livingMarked } from '../subprocess/terminate/sweep.ts';
import type { ServerStatus } from './status.ts';
import { WorkerHandover } from './worker-handover.ts';

const skip = process.platform !== 'linux';
const MARK = `handover${process.pid}.1.hub-1.000001`;

function sleeper(mark: string): number {
  const env = { PATH: process.env.PATH, [DESCENDANT_MARK]: mark };
  return spawn('sleep', ['60'], { env, stdio: 'ignore', detached: true }).pid ?? 0;
}

// case: SV32
test('what a killed worker has left of a server is ended before the next process starts', { skip }, async () => {
  const directory = await mkdtemp(join(tmpdir(), 'handover-'));
  const predecessor = join(directory, 'p.sock');
  const runtime = createRuntime();
  const limits = limitsFrom({});
  const old = new WorkerHandover({
    runtime,
    limits,
    socketPath: join(directory, 'h.sock'),
    predecessor: undefined,
    mark: MARK,
  });
  const registry = { runningHere: () => ({ one: 1, two: 0 }), move: async () => {} };
  const server = createServer((request, response) => old.serve(registry, request, response));
  await new Promise<void>((done) => server.listen(predecessor, done));
  const left = sleeper(`${MARK}.one.abc`);
  const others = [sleeper(`${MARK}.one-more.abc`), sleeper(`${MARK}0.one.abc`)];
  try {
    await until(async () => (await livingMarked(`${MARK}.one`)).length === 1, 5000, 'it runs');
    const next = new WorkerHandover({ runtime, limits, socketPath: predecessor, predecessor, mark: `${MARK}1` });
    const moved: string[] = [];
    let waiting = ['one'];
    const taking = {
      heldElsewhere: () => waiting,
      status: () => undefined,
      hasCallsFrom: () => false,
      move: async (slug: string) => {
        waiting = [];
        moved.push(slug);
      },
    };
    next.takeFrom(taking, () => {});
    old.leave();
    // It has a running call, and has been polled at least once.
    await new Promise((done) => setTimeout(done, 400));
    assert.deepEqual(moved, []);
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
    await until(() => moved.length === 1, 5000, 'it is taken');
    await next.released('one');
    assert.equal(isAlive(left), false);
    assert.deepEqual(others.map(isAlive), [true, true]);
  } finally {
    for (const pid of [left, ...others]) tryKill(pid);
    server.close();
    await runtime.scope.close(runtime.deadline(1000));
    await rm(directory, { recursive: true });
  }
});

async function handoverRig() {
  const directory = await mkdtemp(join(tmpdir(), 'handover-'));
  const predecessor = join(directory, 'p.sock');
  const runtime = createRuntime();
  const limits = limitsFrom({});
  const parts = { runtime, limits, socketPath: join(directory, 'h.sock') };
  const old = new WorkerHandover({ ...parts, predecessor: undefined, mark: MARK });
  const calls: Record<string, number> = { one: 0 };
  const moves: string[] = [];
  const ended = Promise.withResolvers<void>();
  const registry = {
    runningHere: () => calls,
    move: (slug: string) => {
      moves.push(slug);
      delete calls[slug];
      return ended.promise;
    },
  };
  const server = createServer((request, response) => old.serve(registry, request, response));
  await new Promise<void>((done) => server.listen(predecessor, done));
  return {
    old,
    calls,
    moves,
    end: ended.resolve,
    /** A worker that takes the server as soon as it may. `own`: its own calls to it. */
    next(own = 0) {
      const handover = new WorkerHandover({ ...parts, predecessor, mark: `${MARK}1` });
      const taken: string[] = [];
      const taking = {
        heldElsewhere: () => (taken.length === 0 ? ['one'] : []),
        status: () => ({ inFlight: own, queued: 0 }) as ServerStatus,
        hasCallsFrom: () => false,
        move: async (slug: string) => void taken.push(slug),
      };
      handover.takeFrom(taking, () => {});
      return { handover, taken };
    },
    async [Symbol.asyncDispose]() {
      server.close();
      await runtime.scope.close(runtime.deadline(1000));
      await rm(directory, { recursive: true });
    },
  };
}

// case: SV32
test('a second replacement waits for the process that the first has asked for and did not get', async () => {
  await using rig = await handoverRig();
  rig.old.leave();
  const released: string[] = [];
  for (const name of ['killed', 'second']) {
    const { handover, taken } = rig.next();
    await until(() => taken.length === 1, 5000, 'it is taken');
    void handover.released('one')?.then(() => released.push(name));
  }
  await new Promise((done) => setTimeout(done, 300));
  assert.deepEqual([released, rig.moves], [[], ['one']]);
  rig.end();
  await until(() => released.length === 2, 5000, 'both know that it has ended');
});

test("a server with a long call is not taken, however many calls its replacement's clients make", async () => {
  await using rig = await handoverRig();
  rig.old.leave();
  // A call of the replacement is counted there, and has not arrived here.
  rig.calls.one = 1;
  const { taken } = rig.next(1);
  await new Promise((done) => setTimeout(done, 1000));
  assert.deepEqual(taken, []);
  // What is running is the replacement's own.
  using _forwarded = rig.old.countForwarded('one');
  await until(() => taken.length === 1, 5000, 'it is taken');
});

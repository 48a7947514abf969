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

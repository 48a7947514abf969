/**
 * Tests the watcher on real files, with timers five times as fast. They assert when and how often the file is read, not
 * exact times.
 */
import assert from 'node:assert/strict';
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { delay, until } from '../../test/support/hub.ts';
import type { HubEvent } from '../model/events.ts';
import { type Clock, createSystemTimers, systemClock, type Timers } from '../runtime/clock.ts';
import { createRuntime, systemRuntimeOptions } from '../runtime/runtime.ts';
import { createConfigWatcher } from './config-watcher.ts';

const FASTER = 5;
/** Time between two checks, ms. */
const LOOK_MS = 2000 / FASTER;
/** Wall clock time is that of the file system. */
const clock: Clock = { nowMs: () => systemClock.nowMs() * FASTER, wallMs: systemClock.wallMs };
const system = createSystemTimers();
const timers: Timers = {
  ...system,
  after: (ms, run) => system.after(ms / FASTER, run),
  every: (ms, run) => system.every(() => (typeof ms === 'number' ? ms : ms()) / FASTER, run),
};

/** `state.seen`: the contents read, in order, without repetition, as `reload.ts` applies them. */
async function rig(file?: string) {
  const dir = realpathSync(mkdtempSync(join(tmpdir(), 'mcphub-watch-')));
  const path = file === undefined ? join(dir, 'hub.json') : join(dir, file);
  const runtime = createRuntime({ ...systemRuntimeOptions, clock, timers });
  const facts: HubEvent[] = [];
  runtime.bus.listen((fact) => facts.push(fact));
  const state = { isOn: true, reads: 0, seen: [] as string[], failures: 0 };
  const watch = createConfigWatcher({
    runtime,
    find: async () => path,
    isOn: () => state.isOn,
    reload: {
      async reloadIfChanged() {
        state.reads += 1;
        if (state.failures > 0) {
          state.failures -= 1;
          throw new Error('the store is unavailable');
        }
        const text = readOr(path, '(gone)');
        if (state.seen.at(-1) !== text) state.seen.push(text);
        return undefined;
      },
    },
  });
  // The timers of the product do not keep the process alive.
  const awake = setInterval(() => {}, 1000);
  return {
    dir,
    path,
    state,
    facts,
    async start(text: string) {
      writeFileSync(path, text);
      await watch.start(runtime.deadline(1000));
      await until(() => state.seen.includes(text), 5000, 'the first reading');
    },
    async [Symbol.asyncDispose]() {
      clearInterval(awake);
      await watch.stop(runtime.deadline(1000));
      using deadline = runtime.deadline(3000);
      await runtime.scope.close(deadline);
      rmSync(dir, { recursive: true, force: true });
      assert.deepEqual(runtime.waits.table(), []);
    },
  };
}

function readOr(path: string, otherwise: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return otherwise;
  }
}

test('reads a file again after it is written or replaced by an editor', { timeout: 40_000 }, async () => {
  await using one = await rig();
  await one.start('a');
  writeFileSync(one.path, 'b');
  await until(() => one.state.seen.at(-1) === 'b', 6000, 'written');
  writeFileSync(`${one.path}.new`, 'c');
  renameSync(`${one.path}.new`, one.path);
  await until(() => one.state.seen.at(-1) === 'c', 6000, 'renamed over it');
  renameSync(one.path, `${one.path}~`);
  await delay(LOOK_MS / 3);
  writeFileSync(one.path, 'd');
  await until(() => one.state.seen.at(-1) === 'd', 6000, 'moved away and written anew');
  assert.deepEqual(one.state.seen, ['a', 'b', 'c', 'd'], 'never reported as missing');
});

test('reports a missing file after two checks, and reads it when it returns', {
  timeout: 40_000,
}, async () => {
  await using one = await rig();
  await one.start('a');
  rmSync(one.path);
  await until(() => one.state.seen.at(-1) === '(gone)', 9000, 'gone');
  const { reads } = one.state;
  await delay(3 * LOOK_MS);
  assert.equal(one.state.reads, reads, 'reported as missing once');
  writeFileSync(one.path, 'a');
  await until(() => one.state.seen.at(-1) === 'a', 6000, 'back');
  rmSync(one.dir, { recursive: true });
  await until(() => one.state.seen.at(-1) === '(gone)', 9000, 'gone with its directory');
  mkdirSync(one.dir);
  writeFileSync(one.path, 'b');
  await until(() => one.state.seen.at(-1) === 'b', 6000, 'back with its directory');
  writeFileSync(one.path, 'c');
  await until(() => one.state.seen.at(-1) === 'c', 6000, 'the new directory is watched');
});

test('finds changes behind symbolic links without file system events', { timeout: 40_000 }, async () => {
  await using one = await rig(join('etc', 'hub.json'));
  for (const name of ['etc', 'v1', 'v2']) mkdirSync(join(one.dir, name));
  writeFileSync(join(one.dir, 'v1', 'hub.json'), 'a');
  writeFileSync(join(one.dir, 'v2', 'hub.json'), 'c');
  symlinkSync(join(one.dir, 'v1'), join(one.dir, 'now'));
  symlinkSync(join(one.dir, 'now', 'hub.json'), one.path);
  await one.start('a');
  writeFileSync(join(one.dir, 'v1', 'hub.json'), 'b');
  await until(() => one.state.seen.at(-1) === 'b', 8000, 'the target is written');
  symlinkSync(join(one.dir, 'v2'), join(one.dir, 'next'));
  renameSync(join(one.dir, 'next'), join(one.dir, 'now'));
  await until(() => one.state.seen.at(-1) === 'c', 8000, 'a link on the way leads elsewhere');
});

test('reads once after a burst of edits, and repeatedly during endless edits', { timeout: 40_000 }, async () => {
  await using one = await rig();
  await one.start('start');
  const before = one.state.reads;
  for (let edit = 1; edit <= 50; edit += 1) writeFileSync(one.path, `edit ${edit}`);
  await until(() => one.state.seen.at(-1) === 'edit 50', 5000, 'the last one');
  assert.ok(one.state.seen.length <= 4, one.state.seen.join());
  assert.ok(one.state.seen.length <= one.state.reads - before + 1);
  const endMs = performance.now() + 5 * LOOK_MS;
  const seenBefore = one.state.seen.length;
  for (let edit = 1; performance.now() < endMs; edit += 1) {
    writeFileSync(one.path, `endless ${edit}`);
    await delay(15);
  }
  const seen = one.state.seen.length - seenBefore;
  assert.ok(seen >= 2 && seen <= 20, `${seen} of them were read`);
});

test('does not read an unchanged file, and applies nothing when only its timestamp changes', {
  timeout: 40_000,
}, async () => {
  await using one = await rig();
  await one.start('a');
  // A recently modified file is read at each check.
  await delay(3500 + 2 * LOOK_MS);
  const rested = one.state.reads;
  await delay(4 * LOOK_MS);
  assert.equal(one.state.reads, rested);
  const now = new Date();
  utimesSync(one.path, now, now);
  await until(() => one.state.reads > rested, 6000, 'a look inside');
  assert.deepEqual(one.state.seen, ['a']);
});

test('does nothing while switched off, and catches up when switched on', { timeout: 40_000 }, async () => {
  await using one = await rig();
  await one.start('a');
  one.state.isOn = false;
  writeFileSync(one.path, 'b');
  const { reads } = one.state;
  await delay(4 * LOOK_MS);
  assert.equal(one.state.reads, reads);
  one.state.isOn = true;
  await until(() => one.state.seen.at(-1) === 'b', 6000, 'caught up');
});

test('repeats a read that fails', { timeout: 40_000 }, async () => {
  await using one = await rig();
  await one.start('a');
  one.state.failures = 2;
  writeFileSync(one.path, 'b');
  await until(() => one.state.seen.at(-1) === 'b', 12_000, 'in the end');
  assert.ok(one.facts.some(({ type }) => type === 'task-faulted'));
});

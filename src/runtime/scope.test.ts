// covers: L3
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { frozenRuntime } from '../../test/support/frozen-runtime.ts';
import { Scope } from './scope.ts';
import { startAll, stopAll } from './service.ts';

test('closing a scope aborts its tasks and reports by name what would not stop', async () => {
  const { runtime, advance } = frozenRuntime();
  const stuck: string[] = [];
  const scope = new Scope('room', { faulted: () => {}, stuck: (task) => stuck.push(task) });
  scope.run('polite', (signal) => new Promise((resolve) => signal.addEventListener('abort', () => resolve())));
  scope.run('stubborn', () => new Promise(() => {}));
  await Promise.resolve();
  const closing = scope.close(runtime.deadline(100));
  await new Promise((resolve) => setImmediate(resolve));
  advance(200);
  assert.deepEqual(await closing, ['stubborn']);
  assert.deepEqual(stuck, ['room/stubborn']);
  scope.run('too late', async () => assert.fail('a closed scope runs nothing'));
});

test('a task that faults is reported and the others go on', async () => {
  const faults: string[] = [];
  const scope = new Scope('room', { faulted: (task) => faults.push(task), stuck: () => {} });
  scope.run('broken', async () => {
    throw new Error('x');
  });
  scope.run('fine', async () => {});
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(faults, ['room/broken']);
  assert.deepEqual(scope.running, []);
});

test('a start that fails stops what had started, in reverse', async () => {
  const { runtime } = frozenRuntime();
  const log: string[] = [];
  const service = (name: string, fails: boolean) => ({
    name,
    start: async () => {
      if (fails) throw new Error(name);
      log.push(`+${name}`);
    },
    stop: async () => {
      log.push(`-${name}`);
    },
  });
  await assert.rejects(
    startAll([service('a', false), service('b', false), service('c', true)], runtime, runtime.deadline(1000)),
    /c/,
  );
  assert.deepEqual(log, ['+a', '+b', '-b', '-a']);
});

test('stopping always ends, and names the service that did not', async () => {
  const { runtime, advance } = frozenRuntime();
  const services = [
    { name: 'quick', start: async () => {}, stop: async () => {} },
    { name: 'hung', start: async () => {}, stop: () => new Promise<void>(() => {}) },
  ];
  const stopping = stopAll(services, runtime, runtime.deadline(100));
  advance(60);
  assert.deepEqual(await stopping, ['hung']);
});

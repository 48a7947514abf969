/** Former names of limits stay valid in the file, in the environment, as flags and between processes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { envLimits } from '../process/env-limits.ts';
import { FORMER_NAMES, LIMITS, limitsFrom, withFormerNames, withPresentNames } from './limits.ts';
import { parseConfig } from './parse.ts';

const read = (limits: object, env: Record<string, string> = {}, flags: Record<string, number> = {}) =>
  parseConfig(JSON.stringify({ mcpServers: {}, limits }), '/x.json', env, flags);

test('the number of workers is read under its present and its former name', () => {
  for (const name of ['workers', 'hubs']) {
    assert.equal(read({ [name]: 3 }).config?.limits.workers, 3, `file: ${name}`);
    assert.equal(read({}, {}, { [name]: 3 }).config?.limits.workers, 3, `flag: ${name}`);
    assert.equal(limitsFrom({ [name]: 3 }).workers, 3, `message: ${name}`);
  }
  for (const variable of ['MCPHUB_WORKERS', 'MCPHUB_HUBS']) {
    assert.equal(read({}, { [variable]: '3' }).config?.limits.workers, 3, variable);
    assert.equal(envLimits({ [variable]: '3' }).workers, 3, variable);
  }
});

test('the present name applies where both are given; of sources the flag, then the environment', () => {
  assert.equal(read({ hubs: 3, workers: 2 }).config?.limits.workers, 2);
  assert.equal(read({}, { MCPHUB_HUBS: '3', MCPHUB_WORKERS: '2' }).config?.limits.workers, 2);
  assert.equal(read({}, { MCPHUB_HUBS: '3', MCPHUB_WORKERS: '' }).config?.limits.workers, 3);
  assert.equal(read({ workers: 2 }, { MCPHUB_HUBS: '3' }).config?.limits.workers, 3);
  assert.equal(read({}, { MCPHUB_WORKERS: '3' }, { hubs: 4 }).config?.limits.workers, 4);
});

test('a wrong value is reported under the name that was given, and causes no warning otherwise', () => {
  assert.deepEqual(
    read({ hubs: 0 }).problems.map(({ path }) => path),
    ['limits.hubs'],
  );
  assert.deepEqual(
    read({}, { MCPHUB_HUBS: 'two' }).problems.map(({ path }) => path),
    ['MCPHUB_HUBS'],
  );
  assert.deepEqual(read({ hubs: 2 }, { MCPHUB_HUBS: '2' }).problems, []);
  const row = read({}, { MCPHUB_HUBS: '2' }).sources.find(({ name }) => name === 'limits.workers');
  assert.deepEqual([row?.value, row?.source, row?.variable], [2, 'env', 'MCPHUB_HUBS']);
});

test('processes of an earlier version find the former name', () => {
  assert.deepEqual(withFormerNames({ workers: 2, port: 3 }), { workers: 2, port: 3, hubs: 2 });
  assert.deepEqual(withFormerNames({ port: 3 }), { port: 3 });
  assert.equal(read({ workers: 2 }).config?.limitOverrides.hubs, 2);
});

test('no former name is a present one', () => {
  const names = new Set(Object.keys(LIMITS));
  const variables = new Set(Object.values(LIMITS).map(({ env }) => env as string));
  for (const { name, env } of Object.values(FORMER_NAMES)) assert.ok(!names.has(name) && !variables.has(env), name);
});

test('a former name of a later source wins over the present name of an earlier one', () => {
  const limits = limitsFrom({ ...withPresentNames({ workers: 2, hubs: 2 }), ...withPresentNames({ hubs: 3 }) });
  assert.equal(limits.workers, 3);
  assert.deepEqual(withPresentNames(undefined), {});
});

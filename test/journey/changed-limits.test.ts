/**
 * Every limit is changed in the configuration of a running hub, and takes effect when docs/limits.md says so.
 */
// runs: in pairs, about 30 s
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { promisify } from 'node:util';
import type { CeilingsAnswer, StatusAnswer } from '../../src/admin/contract.ts';
import { HUB_LIMITS, LIMIT_NAMES, LIMITS, type LimitName } from '../../src/config/limits.ts';
import { CLI, cleanEnv, type RunningHub, startHub, until } from '../support/hub.ts';
import { askControl, Client, stdioServer } from '../support/load.ts';
import { rpc } from '../support/mcp.ts';

const APPLIED_MS = 15_000;
/** The command line gives the port, and wins over the file. */
const CHANGED = LIMIT_NAMES.filter((name) => name !== 'port');
/** Values that the test notices in the behaviour of the hub. */
const NOTICED: Partial<Record<LimitName, number>> = { stdioLineBytes: 64 * 1024, bodyBytes: 256 * 1024 };
const NEW_VALUES = Object.fromEntries(
  CHANGED.map((name) => {
    const { default: standard, min } = LIMITS[name];
    return [name, NOTICED[name] ?? (standard > min ? standard - 1 : standard + 1)];
  }),
) as Record<LimitName, number>;

const at = (when: string): LimitName[] => CHANGED.filter((name) => LIMITS[name].applies === when);
const WORKER_LIMITS = at('restart').filter((name) => !HUB_LIMITS.has(name));
const HUB_ONLY = at('restart').filter((name) => HUB_LIMITS.has(name));

type Process = CeilingsAnswer['processes'][number];

async function processOf(hub: RunningHub, name: string): Promise<Process | undefined> {
  const answer = (await askControl(hub, '/api/ceilings')) as CeilingsAnswer | undefined;
  return answer?.processes?.find((one) => one.process === name);
}

/** Maximum and share of every container, by name. */
function maximaOf(worker: Process | undefined): Record<string, string> {
  return Object.fromEntries((worker?.ceilings ?? []).map(({ name, max, share }) => [name, `${max} ${share ?? ''}`]));
}

/** Names of limits whose value in force is not the wanted one. */
function different(found: Process | undefined, wanted: (name: LimitName) => number): string[] {
  const { limits = {} } = found ?? {};
  // At most what the descriptors of the process allow.
  const own = (name: LimitName): number =>
    name === 'connections' ? Math.min(wanted(name), limits[name] ?? 0) : wanted(name);
  return CHANGED.filter((name) => limits[name] !== own(name)).map((name) => `${name} ${limits[name]}`);
}

const restartNeeded = async (hub: RunningHub): Promise<StatusAnswer['config']['restartNeeded'] | undefined> =>
  ((await askControl(hub, '/api/status')) as StatusAnswer | undefined)?.config?.restartNeeded;

test('every limit takes effect at once, at a reconnect or at a restart, as the table of limits says', {
  timeout: 120_000,
}, async () => {
  const config = (limits: object): string => JSON.stringify({ mcpServers: { one: stdioServer() }, limits });
  await using hub = await startHub({ config: config({}) });
  const client = new Client(hub);
  await client.open();
  const big = (): Promise<{ readonly text: string }> => client.call('one_big', { bytes: 100_000 });
  await until(async () => (await big()).text.length > 100_000, APPLIED_MS, 'the server answers');
  const before = await processOf(hub, 'hub-1');
  assert.deepEqual(
    different(before, (name) => LIMITS[name].default),
    [],
  );
  assert.deepEqual(await restartNeeded(hub), { workers: [], hub: [] });

  writeFileSync(hub.configFile, config(NEW_VALUES));
  await until(async () => (await restartNeeded(hub))?.hub.length === HUB_ONLY.length, APPLIED_MS, 'the edit');
  const afterEdit = (name: LimitName): number =>
    LIMITS[name].applies === 'restart' ? LIMITS[name].default : NEW_VALUES[name];
  for (const name of ['hub-1', 'control'])
    assert.deepEqual(different(await processOf(hub, name), afterEdit), [], `in ${name}`);
  assert.deepEqual(await restartNeeded(hub), { workers: WORKER_LIMITS, hub: HUB_ONLY });
  const needed = () => hub.lines.filter(({ event }) => event === 'restart-needed');
  assert.deepEqual(
    needed().map(({ limits }) => limits),
    [at('restart')],
  );
  const status = await promisify(execFile)(process.execPath, [CLI, 'status', '--data-dir', hub.dataDir], {
    env: cleanEnv(),
  });
  assert.match(status.stdout, new RegExp(`RESTART NEEDED for ${WORKER_LIMITS.join(', ')}: send SIGUSR2`));
  assert.match(status.stdout, new RegExp(`RESTART NEEDED for ${HUB_ONLY.join(', ')}: stop and start`));

  // Live: a body that was accepted is refused.
  const long = await client.call('one_echo', { text: 'x'.repeat(300_000) });
  assert.equal(long.status, 413, long.text);
  // Reconnect: the answer of the server is too long for the next connection only.
  assert.ok((await big()).text.length > 100_000);
  await fetch(`${hub.url}/api/servers/one/restart`, {
    method: 'POST',
    headers: { authorization: `Bearer ${hub.key}` },
  });
  await until(async () => /stdioLineBytes|too long|longer/.test((await big()).text), APPLIED_MS, 'the new connection');

  // Restart: a new worker has the rest, and its containers are as large as those that followed.
  const followed = maximaOf(await processOf(hub, 'hub-1'));
  const [worker] = hub.processes().hub ?? [];
  process.kill(hub.pid, 'SIGUSR2');
  await until(
    () =>
      hub.lines.some(({ event }) => event === 'rolling-ended') && hub.processes().hub?.includes(worker ?? 0) === false,
    40_000,
    'the new worker',
  );
  await until(async () => (await restartNeeded(hub))?.workers.length === 0, APPLIED_MS, 'nothing waits for it');
  const renewed = await processOf(hub, 'hub-1');
  assert.deepEqual(
    different(renewed, (name) => (HUB_LIMITS.has(name) ? LIMITS[name].default : NEW_VALUES[name])),
    [],
  );
  const fresh = maximaOf(renewed);
  const both = Object.keys(followed).filter((name) => Object.hasOwn(fresh, name));
  assert.ok(both.length > 30, `${both.length} containers`);
  for (const name of both) assert.equal(followed[name], fresh[name], name);
  assert.notDeepEqual(followed, maximaOf(before));
  assert.deepEqual(await restartNeeded(hub), { workers: [], hub: HUB_ONLY });
  client.close();
});

test('a limit of lists changes what clients are shown, and back, without a new connection', async () => {
  const config = (limits: object): string => JSON.stringify({ mcpServers: { one: stdioServer() }, limits });
  await using hub = await startHub({ config: config({}) });
  const shown = async (): Promise<number> =>
    (await rpc(`${hub.url}/mcp`, 'tools/list', {}, { key: hub.key })).json.result.tools.length;
  await until(async () => (await shown()) > 1, APPLIED_MS, 'the tools');
  const all = await shown();
  writeFileSync(hub.configFile, config({ serverTools: 1 }));
  await until(async () => (await shown()) === 1, APPLIED_MS, 'one tool');
  writeFileSync(hub.configFile, config({}));
  await until(async () => (await shown()) === all, APPLIED_MS, 'all tools again');
});

/**
 * A day of reconfiguration in a minute: servers come, go, break and are mended by edits of the file, under load, and
 * nobody else notices.
 */
// runs: in pairs, about 50 s
// covers: E6, B18
import assert from 'node:assert/strict';
import { readdirSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type FaultHttp, startFaultHttp } from '../support/fault-http.ts';
import { delay, type RunningHub, startHub, tryKill, until } from '../support/hub.ts';
import { type Answer, Client, isResult, slowness, stdioServer } from '../support/load.ts';
import { type SdkSse, startSdkSse } from '../support/sdk-sse.ts';

const CALLERS = 6;
const LISTENERS = 8;
/** The file's rest, a look without a hint, and what a busy machine adds. */
const APPLIED_MS = 10_000;
/**
 * Long enough that a second notice of the same change would have come: lists are told apart by 250 ms, read again after
 * two seconds.
 */
const SECOND_NOTICE_MS = 2500;

interface Server {
  readonly name: string;
  readonly state: string;
  readonly hubs: readonly { readonly pid?: number; readonly restarts: number; readonly silenceMs: number }[];
}

interface Status {
  readonly servers: readonly Server[];
  readonly revision: number;
  readonly config: { readonly refused?: { readonly errors: readonly string[] } };
}

/** The world that stays. */
class Town implements AsyncDisposable {
  readonly #http: readonly FaultHttp[];
  readonly #sse: SdkSse;
  readonly servers: Readonly<Record<string, object>>;

  private constructor(http: readonly FaultHttp[], sse: SdkSse) {
    this.#http = http;
    this.#sse = sse;
    this.servers = {
      child1: stdioServer(),
      child2: stdioServer(),
      remote1: { type: 'streamable-http', url: http[0]?.url },
      remote2: { url: http[1]?.url },
      old: { type: 'sse', url: sse.url },
    };
  }

  static async open(): Promise<Town> {
    return new Town([await startFaultHttp(), await startFaultHttp()], await startSdkSse());
  }

  /** Relations that were ever opened with the remote servers. */
  get relations(): string {
    const opened = this.#http.map(({ seen }) => `${seen.byMethod.initialize} of ${seen.sessions}`);
    return [...opened, this.#sse.seen.filter(({ method }) => method === 'GET').length].join();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#http.map((one) => one.close()), this.#sse.close()]);
  }
}

/** Calls without a pause, to every server of the town in turn. */
class Callers {
  readonly failed: string[] = [];
  answered = 0;
  slowestMs = 0;
  #going = true;
  readonly #all: Promise<void>[];

  constructor(hub: RunningHub, names: readonly string[]) {
    this.#all = Array.from({ length: CALLERS }, (_, at) => this.#call(hub, names, at));
  }

  async stop(): Promise<void> {
    this.#going = false;
    await Promise.all(this.#all);
  }

  async #call(hub: RunningHub, names: readonly string[], first: number): Promise<void> {
    const client = new Client(hub);
    await client.open();
    for (let at = first; this.#going; at += 1) {
      const name = names[at % names.length] as string;
      const answer: Answer = await client.call(`${name}_echo`, { text: `call ${at}` });
      if (isResult(answer) && answer.text.includes(`call ${at}`)) this.answered += 1;
      else this.failed.push(`${name}: ${answer.status} ${answer.fault ?? ''} ${answer.text.slice(0, 300)}`);
      this.slowestMs = Math.max(this.slowestMs, answer.ms);
      await delay(5);
    }
    client.close();
  }
}

async function statusOf(hub: RunningHub): Promise<Status> {
  const answer = await fetch(`${hub.url}/api/status`, { headers: { authorization: `Bearer ${hub.key}` } });
  return (await answer.json()) as Status;
}

async function toolsOf(client: Client): Promise<string[]> {
  const { text } = await client.list();
  return (JSON.parse(text) as { result: { tools: { name: string }[] } }).result.tools.map(({ name }) => name);
}

function isChildOf(name: string, line: string): boolean {
  return line.startsWith(`${name} `) && /\b\d+\/0/.test(line);
}

/** Pids of children and restarts of all, as control sees them. */
function standing({ servers }: Status, names: readonly string[]): string[] {
  return servers
    .filter(({ name }) => names.includes(name))
    .map(({ name, hubs }) => `${name} ${hubs.map(({ pid, restarts }) => `${pid ?? '-'}/${restarts}`).join()}`);
}

// row G10 · guards src/upstream/registry.ts
test('servers come, go, are renamed, broken, mended and switched off by edits of the file; the others notice nothing', {
  timeout: 180_000,
}, async () => {
  await using town = await Town.open();
  await using hub = await startHub({ config: { mcpServers: town.servers }, env: { MCPHUB_WORKERS: '2' } });
  const names = Object.keys(town.servers);
  const watcher = new Client(hub);
  const listeners = Array.from({ length: LISTENERS }, () => new Client(hub));
  await until(
    async () => (await statusOf(hub)).servers.every(({ state }) => state === 'ready'),
    30_000,
    'the town is ready',
  );
  let all: string[] = [];
  const isListed = async (): Promise<boolean> => {
    all = await toolsOf(watcher);
    return names.every((name) => all.includes(`${name}_echo`));
  };
  // A server is ready a few turns before its tools are in the list.
  await until(isListed, 10_000, 'the tools of the town');
  for (const listener of listeners) {
    await listener.open();
    assert.equal(await listener.listen(), 200);
  }
  // Each hub tells control once a second how its servers stand; a child's process is known to its home hub only.
  let before: string[] = [];
  await until(
    async () => {
      before = standing(await statusOf(hub), names);
      const isWhole = before.every((line) => line.split(',').length === 2);
      return isWhole && ['child1', 'child2'].every((child) => before.some((line) => isChildOf(child, line)));
    },
    10_000,
    'both hubs have told of their servers',
  );
  const { relations } = town;
  const callers = new Callers(hub, names);
  const eventsNow = (): number[] => listeners.map(({ events }) => events);
  // What the workers learn of each other's servers at the start is a change too; it is over when nobody hears of one
  // any more.
  let atStart = eventsNow();
  await until(
    async () => {
      const before = atStart;
      await delay(SECOND_NOTICE_MS);
      atStart = eventsNow();
      return atStart.join() === before.join();
    },
    20_000,
    'the lists of the start are settled',
  );
  const heard = (): number[] => [...new Set(eventsNow().map((events, at) => events - (atStart[at] ?? 0)))];

  const write = (servers: object): void => writeFileSync(hub.configFile, JSON.stringify({ mcpServers: servers }));
  const replace = (text: string): void => {
    writeFileSync(`${hub.configFile}.new`, text);
    renameSync(`${hub.configFile}.new`, hub.configFile);
  };
  let told = 0;
  /** Waits until the list is as wanted and everybody has heard `times` more; then nobody may hear any more. */
  async function changed(what: string, isDone: (tools: readonly string[]) => boolean, times = 1): Promise<void> {
    await until(async () => isDone(await toolsOf(watcher)), APPLIED_MS, what);
    told += times;
    await until(() => heard().join() === String(told), APPLIED_MS, `${what}: heard ${heard()} instead of ${told}`);
    await delay(SECOND_NOTICE_MS);
    assert.deepEqual(heard(), [told], `${what}: exactly once`);
  }

  try {
    const morning = { ...town.servers, extra: stdioServer() };
    write(morning);
    await changed('a server is added', (tools) => tools.includes('extra_echo'));

    replace(JSON.stringify({ mcpServers: { ...town.servers, extra: { ...stdioServer(), silenceMs: '9s' } } }));
    const silenceOf = async () =>
      (await statusOf(hub)).servers.find(({ name }) => name === 'extra')?.hubs.map(({ silenceMs }) => silenceMs);
    await until(async () => (await silenceOf())?.every((ms) => ms === 9000) === true, APPLIED_MS, 'a setting of it');
    const extraBefore = standing(await statusOf(hub), ['extra']);

    const { revision } = await statusOf(hub);
    writeFileSync(hub.configFile, '{ "mcpServers": { "extra": { "comand": "node" }, }');
    await until(async () => (await statusOf(hub)).config.refused !== undefined, APPLIED_MS, 'the broken file is named');
    const { refused } = (await statusOf(hub)).config;
    assert.match(refused?.errors.join() ?? '', /mcp_settings\.json:1:\d+ .*comand|mcp_settings\.json:1:\d+:/);
    rmSync(hub.configFile);
    await until(
      async () => /does not exist/.test((await statusOf(hub)).config.refused?.errors.join() ?? ''),
      APPLIED_MS,
      'the lost file is named',
    );
    assert.equal((await statusOf(hub)).revision, revision, 'the last good one stays');
    assert.ok((await toolsOf(watcher)).includes('extra_echo'));
    replace(JSON.stringify({ mcpServers: { ...town.servers, extra: { ...stdioServer(), silenceMs: '9s' } } }));
    await until(async () => (await statusOf(hub)).config.refused === undefined, APPLIED_MS, 'mended');
    assert.deepEqual(standing(await statusOf(hub), ['extra']), extraBefore, 'and nothing was started anew');

    const now = new Date();
    utimesSync(hub.configFile, now, now);
    replace(
      `// Only a comment more.\n${JSON.stringify({ mcpServers: { ...morning, extra: { ...stdioServer(), silenceMs: '9s' } } })}`,
    );
    await delay(SECOND_NOTICE_MS);
    assert.equal((await statusOf(hub)).revision, revision, 'a comment more is no other world');
    assert.deepEqual(heard(), [told], 'nobody hears of what is no change');

    write({ ...morning, extra: { ...stdioServer(), enabled: false } });
    await changed('a server is switched off', (tools) => !tools.includes('extra_echo'));
    write(morning);
    await changed('a server is switched on', (tools) => tools.includes('extra_echo'));

    write({ ...town.servers, renamed: stdioServer() });
    // One name goes at once, the other comes when its server has been listed.
    await changed('a server is renamed', (tools) => tools.includes('renamed_echo') && !tools.includes('extra_echo'), 2);

    write({ ...town.servers, renamed: { command: '/nowhere/at-all' } });
    await until(
      async () => (await statusOf(hub)).servers.some(({ name, state }) => name === 'renamed' && state === 'waiting'),
      APPLIED_MS,
      'a broken server is named',
    );
    write({ ...town.servers, renamed: stdioServer() });
    await until(
      async () => (await statusOf(hub)).servers.every(({ state }) => state === 'ready'),
      APPLIED_MS + 10_000,
      'a mended server',
    );
    await delay(SECOND_NOTICE_MS);
    assert.deepEqual(heard(), [told], 'its tools were shown all the time');

    const slow = await slowness();
    const bornMs = performance.now();
    for (let edit = 1; edit <= 50; edit += 1) {
      const burst =
        edit % 10 === 7
          ? '{ broken'
          : JSON.stringify({ mcpServers: { ...town.servers, [`edit${edit}`]: stdioServer() } });
      if (edit % 2 === 0) replace(burst);
      else writeFileSync(hub.configFile, burst);
      await delay(10);
    }
    await until(
      async () => (await statusOf(hub)).servers.some(({ name }) => name === 'edit50'),
      APPLIED_MS,
      'the last',
    );
    const settledMs = performance.now() - bornMs;
    await until(async () => (await toolsOf(watcher)).includes('edit50_echo'), APPLIED_MS, 'the last one is listed');
    assert.ok(
      settledMs < 5000 * Math.max(slow, await slowness()) + 500,
      `the burst settled after ${Math.round(settledMs)} ms`,
    );
    await delay(SECOND_NOTICE_MS);
    assert.equal(heard().length, 1, 'all have heard the same');
    const more = (heard()[0] as number) - told;
    assert.ok(more >= 1 && more <= 4, `a burst is told ${more} times`);

    write(town.servers);
    await until(async () => (await toolsOf(watcher)).length === all.length, APPLIED_MS, 'evening');
    await callers.stop();
    assert.deepEqual(callers.failed, [], 'no call to an untouched server failed');
    assert.ok(callers.answered > 1000, `${callers.answered} calls`);
    assert.deepEqual(standing(await statusOf(hub), names), before, 'same processes, no restarts');
    assert.equal(town.relations, relations, 'same sessions');
    assert.equal(
      listeners.every(({ ended }) => ended === 0),
      true,
      'no stream was cut',
    );
  } finally {
    await callers.stop();
    for (const client of [watcher, ...listeners]) client.close();
  }
});

test('switched off, the file is read when somebody asks for it', { timeout: 60_000 }, async () => {
  const config = (name: string) => JSON.stringify({ mcpServers: { [name]: stdioServer() } });
  await using hub = await startHub({ config: config('one'), env: { MCPHUB_WATCH_CONFIG: '0' } });
  writeFileSync(hub.configFile, config('two'));
  await delay(5000);
  assert.deepEqual(
    (await statusOf(hub)).servers.map(({ name }) => name),
    ['one'],
  );
  process.kill(hub.pid, 'SIGHUP');
  await until(async () => (await statusOf(hub)).servers.some(({ name }) => name === 'two'), APPLIED_MS, 'after SIGHUP');
});

test('limits of the file hold for containers from the first start, and a worker that starts after an edit has the new ones', {
  timeout: 60_000,
}, async () => {
  const config = (calls: number): object => ({ mcpServers: { one: stdioServer() }, limits: { calls } });
  await using hub = await startHub({ config: config(13) });
  const most = async (): Promise<number | undefined> => {
    const answer = await fetch(`${hub.url}/api/ceilings`, { headers: { authorization: `Bearer ${hub.key}` } });
    const { ceilings } = (await answer.json()) as { ceilings: { readonly name: string; readonly max: number }[] };
    return ceilings.find(({ name }) => name === 'admission.calls')?.max;
  };
  assert.equal(await most(), 13);
  const { revision } = await statusOf(hub);
  writeFileSync(hub.configFile, JSON.stringify(config(14)));
  await until(async () => (await statusOf(hub)).revision > revision, APPLIED_MS, 'the edit is applied');
  const [worker = -1] = hub.processes().hub ?? [];
  // The snapshot on disk would do as well.
  for (const name of readdirSync(hub.dataDir)) if (name.endsWith('.snapshot.json')) rmSync(join(hub.dataDir, name));
  tryKill(worker);
  await until(
    () =>
      most()
        .then((max) => max === 14)
        .catch(() => false),
    APPLIED_MS,
    'the new limit',
  );
});

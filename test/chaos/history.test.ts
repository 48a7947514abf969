/**
 * Several users at once with colliding ids and tokens, servers that freeze, die, drip and are cut off, clients that are
 * cut off themselves: and afterwards the judge reads what each client has written down, and what the servers have
 * carried out.
 */
// runs: alone
// covers: P3, P17, P18
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { type FaultHttp, startFaultHttp } from '../support/fault-http.ts';
import { chances, type FaultProxy, startFaultProxy, type Toxics } from '../support/fault-proxy.ts';
import { judge, type Recorded } from '../support/history.ts';
import { delay, type RunningHub, startHub, tryKill, until } from '../support/hub.ts';
import { makeKey } from '../support/journal.ts';
import { Client, isResult, stdioServer } from '../support/load.ts';
import { measured, scaled } from '../support/measured.ts';
import { Recorder } from '../support/recorder.ts';
import { isUnharmed } from '../support/unharmed.ts';

const USERS = 8;
const CLIENTS_EACH = 4;
const TOTAL_MS = 3000;
const REQUESTS = scaled({ ci: 10_000, long: 1_000_000 });
const AT_MOST_MS = scaled({ ci: 90_000, long: 25 * 60_000 });
const FAULT_MS = 1500;
const SLOW: ReadonlySet<string> = new Set(['dying', 'far', 'hung']);
/** What the network between hub and server does, one after the other. */
const FAULTS: readonly Toxics[] = [
  {},
  { latencyMs: 30, jitterMs: 40 },
  { sliceBytes: 7, latencyMs: 1 },
  { resetWithinBytes: 4000 },
  { blackhole: true },
  { stallAfterBytes: 3000 },
  { garbagePerMille: 20 },
  { halfOpen: true, resetWithinBytes: 8000 },
];

interface Cast {
  readonly hub: RunningHub;
  readonly web: FaultHttp;
  readonly far: FaultProxy;
  readonly near: FaultProxy;
  readonly history: Recorded[];
  readonly chance: () => number;
  readonly serial: () => number;
}

function serials(): () => number {
  let last = 0;
  return () => {
    last += 1;
    return last;
  };
}

/** Calls until the history is long enough; `isOver` also when the time is. */
async function play(cast: Cast, user: number, key: string, which: number, isOver: () => boolean): Promise<void> {
  const { hub, near, history, chance, serial } = cast;
  const isSpoilt = which === 0;
  const recorder = new Recorder({ port: isSpoilt ? near.port : hub.port, key, user, isSpoilt, history, serial });
  const hasSession = which !== 1;
  while (!isOver()) {
    if (hasSession && recorder.session === undefined && !(await recorder.open())) {
      await delay(50);
      continue;
    }
    const luck = chance();
    const server = ['web', 'child', 'web', 'child', 'dying', 'far', 'hung'][Math.floor(chance() * 7)] ?? 'web';
    // What is slow or silent is asked seldom, so that the others' calls are many.
    if (SLOW.has(server) && luck > 0.04) continue;
    const streams = luck < 0.1 && server !== 'hung';
    const args = streams ? { steps: 3, ms: 5, late: 2 } : {};
    const abortMs = luck > 0.97 ? 1 + chance() * 20 : undefined;
    const tool = `${server}_${streams ? 'report' : 'echo'}`;
    const one = await recorder.call(tool, args, TOTAL_MS, { abortMs, mayBeSpoilt: server === 'far' });
    // A spoilt connection may have spoilt the greeting too.
    if (isSpoilt && one.outcome !== 'result') recorder.session = undefined;
  }
  recorder.close();
}

/** One trouble after the other; children die and freeze meanwhile, in the long tier hubs too. */
async function trouble({ hub, far, near, chance }: Cast, isOver: () => boolean): Promise<void> {
  const client = new Client(hub);
  for (let round = 0; !isOver(); round += 1) {
    far.toxics = FAULTS[round % FAULTS.length] ?? {};
    near.toxics = FAULTS[(round * 3 + 1) % FAULTS.length] ?? {};
    if (near.toxics.blackhole || near.toxics.stallAfterBytes) near.toxics = { resetWithinBytes: 5000, latencyMs: 2 };
    const pid = /"text":"(\d+)"/.exec((await client.call('dying_pid', {}, TOTAL_MS)).text)?.[1];
    if (pid !== undefined && round % 2 === 0) tryKill(Number(pid), chance() < 0.5 ? 'SIGKILL' : 'SIGTERM');
    await delay(FAULT_MS);
    far.reset();
  }
  far.toxics = {};
  client.close();
}

// row C16 · guards src/upstream/connection/correlator.ts
test('each request of many has one answer, in time and its own, and nothing is done twice', {
  timeout: AT_MOST_MS + 120_000,
}, async (t) => {
  const seed = Number(process.env.HISTORY_SEED ?? Math.floor(Math.random() * 2 ** 31));
  t.diagnostic(`seed ${seed} (HISTORY_SEED)`);
  const directory = mkdtempSync(join(tmpdir(), 'mcphub-history-'));
  const ledger = join(directory, 'ledger');
  const executions = new Map<string, number>();
  const carriedOut = (text: unknown): void => {
    if (typeof text === 'string') executions.set(text, (executions.get(text) ?? 0) + 1);
  };
  const executed: FaultHttp['flags']['executed'] = ({ params }) => carriedOut(params?.arguments?.text);
  const [web, behind, hung] = await Promise.all([
    startFaultHttp({ executed }),
    startFaultHttp({ executed }),
    startFaultHttp({ silent: true }),
  ]);
  const far = await startFaultProxy(behind.port, {}, seed);
  const env = { FAULT_LEDGER: ledger };
  const config = {
    mcpServers: {
      web: { url: web.url },
      child: { ...stdioServer(), env },
      far: { url: `${far.url}/mcp` },
      dying: { ...stdioServer(), env },
      hung: { url: hung.url },
    },
  };
  const limits = { MCPHUB_TOTAL_MS: String(TOTAL_MS), MCPHUB_KEY_PER_SECOND: '10000', MCPHUB_KEY_BURST: '10000' };
  const hub = await startHub({ config, env: limits });
  const near = await startFaultProxy(hub.port, {}, seed + 1);
  try {
    const warm = new Client(hub);
    for (const name of ['web', 'child', 'far', 'dying'])
      await until(async () => isResult(await warm.call(`${name}_echo`, { text: 'up' })), 60_000, name);
    warm.close();
    const keys: string[] = [];
    for (let user = 0; user < USERS; user += 1) keys.push(await makeKey(hub, `user${user}`));
    const history: Recorded[] = [];
    const cast: Cast = { hub, web, far, near, history, chance: chances(seed), serial: serials() };
    const endMs = performance.now() + AT_MOST_MS;
    const isOver = () => history.length >= REQUESTS || performance.now() > endMs;
    const players = keys.flatMap((key, user) =>
      Array.from({ length: CLIENTS_EACH }, (_, which) => play(cast, user, key, which, isOver)),
    );
    await Promise.all([...players, trouble(cast, isOver)]);
    for (const line of readFileSync(ledger, 'utf8').split('\n')) if (line !== '') carriedOut(line);
    executions.delete('up');
    const { requests, wrong, counts, latestMs } = judge(history, executions);
    const kinds = ['result', 'error', 'cut'].map((kind) => history.filter(({ outcome }) => outcome === kind).length);
    t.diagnostic(`${requests} requests: ${kinds.join(', ')} results, errors, cut; latest ${Math.round(latestMs)} ms`);
    assert.ok(requests >= REQUESTS, `only ${requests} requests in time`);
    assert.deepEqual(wrong, [], `seed ${seed}`);
    const what = `of ${requests} requests`;
    measured({ promise: 'P3', what: `unanswered, ${what}`, value: counts.unanswered, unit: '', strict: 0 });
    measured({
      promise: 'P3',
      what: 'latest answer after its deadline',
      value: latestMs,
      unit: 'ms',
      strict: 250,
      ci: 520,
    });
    measured({ promise: 'P17', what: `carried out twice, ${what}`, value: counts.twiceDone, unit: '', strict: 0 });
    measured({ promise: 'P17', what: `messages behind a result, ${what}`, value: counts.after, unit: '', strict: 0 });
    measured({ promise: 'P18', what: `another user’s words, ${what}`, value: counts.foreign, unit: '', strict: 0 });
    // Half-open connections end with it.
    await near[Symbol.asyncDispose]();
    await isUnharmed(hub, 'child_echo');
  } finally {
    await hub[Symbol.asyncDispose]();
    await Promise.all([near[Symbol.asyncDispose](), far[Symbol.asyncDispose]()]);
    await Promise.all([web.close(), behind.close(), hung.close()]);
    rmSync(directory, { recursive: true, force: true });
  }
});

test('a call that is cancelled is cancelled at its server at once', { timeout: 60_000 }, async () => {
  const cancelledMs = new Map<number, number>();
  const calledIds: number[] = [];
  const web = await startFaultHttp({
    heard({ method, id, params }) {
      if (method === 'tools/call' && typeof id === 'number') calledIds.push(id);
      const requestId = (params as { requestId?: number } | undefined)?.requestId;
      if (method === 'notifications/cancelled' && requestId !== undefined)
        cancelledMs.set(requestId, performance.now());
    },
  });
  await using hub = await startHub({ config: { mcpServers: { web: { url: web.url } } } });
  try {
    const history: Recorded[] = [];
    const recorder = new Recorder({ port: hub.port, key: hub.key, user: 0, history, serial: serials() });
    await until(() => recorder.open(), 10_000, 'a session');
    await until(async () => (await recorder.call('web_echo', {}, 5000)).outcome === 'result', 30_000, 'the server');
    const took: number[] = [];
    for (let at = 0; at < scaled({ ci: 20, long: 200 }); at += 1) {
      const before = calledIds.length;
      const call = recorder.call('web_sleep', { ms: 20_000 }, 20_000);
      await until(() => calledIds.length > before, 5000, 'the call');
      const sentMs = performance.now();
      const params = { requestId: recorder.lastId };
      await recorder.tell({ jsonrpc: '2.0', method: 'notifications/cancelled', params });
      const id = calledIds.at(-1) ?? -1;
      await until(() => cancelledMs.has(id), 5000, 'the cancel');
      took.push((cancelledMs.get(id) ?? 0) - sentMs);
      assert.equal((await call).outcome, 'none', 'no response to a cancelled request');
    }
    const value = Math.max(...took);
    measured({ promise: 'P17', what: 'a cancel reaches the server after', value, unit: 'ms', strict: 200, ci: 420 });
    assert.equal(new Set(calledIds).size, calledIds.length);
    recorder.close();
  } finally {
    await web.close();
  }
});

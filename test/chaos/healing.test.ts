/**
 * Servers of every kind break and recover side by side behind one hub, and are called each second: each is used again
 * soon after it is well, without a person; none is shown as ready while its calls say that it is gone; those that work
 * beside them never fail a call.
 */
// covers: P16
// runs: in pairs, about 70 s
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Kind, startKinds } from '../support/healing-kinds.ts';
import { delay, environOf, isAlive, type RunningHub, startHub, until } from '../support/hub.ts';
import { Client, isResult, stdioServer } from '../support/load.ts';
import { IS_LONG, measured } from '../support/measured.ts';

const FAULT_MS = IS_LONG ? 60_000 : 8000;
const BACK_MS = 65_000;
const SAMPLE_MS = 1000;
/** A process that exits after its answer has exited by then. */
const EXIT_MS = 5000;
/** Longer than the silence that ends a call at the hub: clients see what the hub says. */
const CALL_MS = 8000;
/** In CI nobody waits for the longest rest and the longest start. */
const SETTINGS = IS_LONG ? {} : { MCPHUB_RESTART_CAP_MS: '10000', MCPHUB_PING_MS: '2500' };
const START_MS = IS_LONG ? 60_000 : 10_000;
const HUNG = ['hung1', 'hung2', 'hung3', 'hung4'];

/** Codes of calls whose failure says that the server is gone, and not that a call was wrong. */
const GONE = new Set([
  'upstream-connect',
  'upstream-gone',
  'upstream-silent',
  'upstream-exit',
  'upstream-session',
  'upstream-dns',
]);
const GATEWAY = new Set([502, 503, 504]);
/** From the third failure until every display says it: a worker reports its servers each second. */
const SHOWN_MS = IS_LONG ? 1500 : 3000;

/** The same where calls fail in other ways: a question within 2 s, three that fail, or a new session that works. */
const FAILING_MS = 35_000;

interface Sample {
  readonly atMs: number;
  readonly endMs: number;
  readonly isGood: boolean;
  readonly isGone: boolean;
  /** The answer, or why there was none. */
  readonly text: string;
}

interface Look {
  readonly atMs: number;
  readonly states: Readonly<Record<string, string>>;
}

/** Calls each server, and asks for the status, once a second. */
class Sampler {
  readonly samples: Record<string, Sample[]> = {};
  readonly looks: Look[] = [];
  readonly #hub: RunningHub;
  readonly #client: Client;
  readonly #running = new Set<Promise<void>>();
  readonly #called = new Set<string>();
  #isOver = false;

  constructor(hub: RunningHub) {
    this.#hub = hub;
    this.#client = new Client(hub, 500);
  }

  async run(kinds: Readonly<Record<string, Kind>>): Promise<void> {
    for (let dueMs = performance.now(); !this.#isOver; dueMs += SAMPLE_MS) {
      for (const [server, { tool, oneByOne }] of Object.entries(kinds))
        if (!oneByOne) this.#start(this.#call(server, tool()));
        else if (!this.#called.has(server)) this.#start(this.#callAlone(server, tool()));
      this.#start(this.#look());
      await delay(Math.max(0, dueMs + SAMPLE_MS - performance.now()));
    }
    await Promise.all(this.#running);
    this.#client.close();
  }

  stop(): void {
    this.#isOver = true;
  }

  /** Calls of this server, in the order in which they ended. */
  of(server: string): readonly Sample[] {
    return this.samples[server] ?? [];
  }

  #start(work: Promise<void>): void {
    const kept = work.finally(() => this.#running.delete(kept));
    this.#running.add(kept);
  }

  /** Calls a server whose process exits after each answer; a call that reaches it between the two is lost with it. */
  async #callAlone(server: string, tool: string): Promise<void> {
    this.#called.add(server);
    await this.#call(server, tool);
    const pids = pidsOf(this.#hub, server);
    await until(() => !pids.some((pid) => isAlive(pid)), EXIT_MS).catch(() => {});
    // The hub learns of the exit a moment later.
    await delay(SAMPLE_MS);
    this.#called.delete(server);
  }

  async #call(server: string, tool: string): Promise<void> {
    const atMs = performance.now();
    const answer = await this.#client.call(`${server}_${tool}`, { text: 'x' }, CALL_MS);
    const { code, status } = detailOf(answer.text);
    const isGone = GONE.has(code ?? '') || GATEWAY.has(status ?? 0);
    const text = answer.fault ?? answer.text;
    this.samples[server] ??= [];
    this.samples[server].push({ atMs, endMs: performance.now(), isGood: isResult(answer), isGone, text });
  }

  async #look(): Promise<void> {
    const atMs = performance.now();
    const answer = await fetch(`${this.#hub.url}/api/status`, {
      headers: { authorization: `Bearer ${this.#hub.key}` },
    });
    // A busy control process may refuse; what it did not say is no sample.
    if (!answer.ok) return void (await answer.body?.cancel());
    const { servers } = (await answer.json()) as { servers: { name: string; state: string }[] };
    this.looks.push({ atMs, states: Object.fromEntries(servers.map(({ name, state }) => [name, state])) });
  }
}

function detailOf(text: string): { readonly code?: string; readonly status?: number } {
  try {
    return JSON.parse(text).error?.data ?? {};
  } catch {
    return {};
  }
}

/** ms from `wellMs` to the first good answer after the last bad one; 0 = none was bad. */
function backMs(samples: readonly Sample[], wellMs: number): number {
  const lastBad = samples.findLast(({ isGood, endMs }) => !isGood && endMs > wellMs);
  if (lastBad === undefined) return 0;
  const good = samples.find(({ isGood, atMs }) => isGood && atMs > lastBad.atMs);
  return good === undefined ? Number.POSITIVE_INFINITY : good.endMs - wellMs;
}

/** Longest time for which a server was shown as ready after three calls in a row had failed so, ms. */
function shownReadyMs(
  samples: readonly Sample[],
  looks: readonly Look[],
  server: string,
  fails: (one: Sample) => boolean,
): number {
  let longestMs = 0;
  let otherMs = 0;
  for (const { atMs, states } of looks) {
    if (states[server] !== 'ready') {
      otherMs = atMs;
      continue;
    }
    const before = samples.filter(({ endMs }) => endMs < atMs);
    const lastOther = before.findLastIndex((one) => !fails(one));
    const third = before[lastOther + 3];
    if (third) longestMs = Math.max(longestMs, atMs - Math.max(third.endMs, otherMs));
  }
  return longestMs;
}

// row A14 · guards src/upstream/link/connection-switch.ts
// case: SX1, SV8, SV12, SV31, SV50, SV52
test('servers of every kind are used again within 65 s after they are well, and harm none beside them', {
  timeout: 900_000,
}, async () => {
  const kinds = await startKinds(START_MS);
  const names = Object.keys(kinds);
  const hung = HUNG.map((name) => [name, stdioServer('silent')] as const);
  const configs = Object.entries(kinds).map(([name, { config }]) => [name, config] as const);
  await using hub = await startHub({
    config: { mcpServers: Object.fromEntries([...hung, ...configs]) },
    env: SETTINGS,
  });
  const sampler = new Sampler(hub);
  let sampling: Promise<void> | undefined;
  try {
    const client = new Client(hub);
    for (const [name, { tool }] of Object.entries(kinds))
      await until(
        async () => isResult(await client.call(`${name}_${tool()}`, { text: 'x' })),
        20_000,
        `${name} is ready`,
      );
    client.close();
    sampling = sampler.run(kinds);
    await delay(3 * SAMPLE_MS);
    for (const [name, kind] of Object.entries(kinds)) await kind.break?.(pidsOf(hub, name));
    const brokenMs = performance.now();
    await delay(FAULT_MS);
    for (const kind of Object.values(kinds)) await kind.mend?.();
    const mendedMs = performance.now();
    /** Three good answers in a row. */
    const isBack = (name: string): boolean => {
      const last = sampler
        .of(name)
        .filter(({ atMs }) => atMs > mendedMs)
        .slice(-3);
      return last.length === 3 && last.every(({ isGood }) => isGood);
    };
    await until(() => names.every(isBack), BACK_MS + 10_000).catch(() => {});
    sampler.stop();
    await sampling;
    const steadyKinds = names.filter((name) => kinds[name]?.steady);
    const failed = steadyKinds.map((name) => [name, sampler.of(name).filter(({ isGood }) => !isGood)] as const);
    assert.deepEqual(
      failed.filter(([, bad]) => bad.length > 0),
      [],
      'servers without a fault failed calls',
    );
    for (const [name, { mend }] of Object.entries(kinds)) {
      const samples = sampler.of(name);
      const bad = samples.filter(({ isGood }) => !isGood);
      const shown = (fails: (one: Sample) => boolean) => shownReadyMs(samples, sampler.looks, name, fails);
      const last = bad.at(-1)?.text.slice(0, 300) ?? 'none';
      const figures = [
        [`${name} is back (last failure: ${last})`, backMs(samples, mend ? mendedMs : brokenMs), BACK_MS],
        [`${name} is shown as ready while it is gone`, shown(({ isGone }) => isGone), SHOWN_MS],
        [`${name} is shown as ready while all calls fail`, shown(({ isGood }) => !isGood), FAILING_MS],
      ] as const;
      const unit = 'ms';
      measured(...figures.map(([what, value, strict]) => ({ promise: 'P16', what, value, unit, strict })));
    }
  } finally {
    sampler.stop();
    await sampling?.catch(() => {});
    for (const kind of Object.values(kinds)) await kind.close?.();
  }
});

/** Processes that the hub runs for this server. */
function pidsOf(hub: RunningHub, server: string): number[] {
  return hub.descendants().filter((pid) => environOf(pid).MCPHUB_MARK?.includes(`.${server}.`));
}

/**
 * The soak: load unit U (70 clients, each a session, a GET stream, a call a second) while one random fault after the
 * other is done to what surrounds the hub. Seeded; the seed is in the outcome.
 * Promises: ends by itself, whatever the hub does; every request sent is counted as answered or not; figures are read
 * after a collection, in the quiet second half of each interval.
 * Does not: judge (soak.test.ts and run.ts do), nor kill the hub itself: memory would begin anew.
 */
import { readdirSync } from 'node:fs';
import { type FaultHttp, startFaultHttp } from '../support/fault-http.ts';
import { delay, type RunningHub, startHub, tryKill, until } from '../support/hub.ts';
import { type Answer, askHub, Client, isResult, stdioServer } from '../support/load.ts';
import { beginFault, FAULT_NAMES, type FaultName, type Surroundings } from './faults.ts';

export interface SoakOptions {
  readonly minutes: number;
  /** A fault at the beginning of each, over at half of it. */
  readonly intervalMs: number;
  readonly seed: number;
  readonly say: (line: string) => void;
}

/** How the hub stood at the end of an interval. */
export interface Sample {
  readonly atMinutes: number;
  readonly fault: FaultName | 'none';
  readonly rssBytes: number;
  readonly heapBytes: number;
  readonly descriptors: number;
  readonly guardDescriptors: number;
  readonly processes: number;
  /** Active timers and handles of the hub's loop. */
  readonly active: number;
  readonly streams: number;
  readonly sessions: number;
}

export interface SoakOutcome {
  readonly seed: number;
  readonly requests: number;
  /** No answer at all within its time. */
  readonly unanswered: readonly string[];
  /** A call to the server that nothing was done to, and it failed. */
  readonly calmFailed: readonly string[];
  /** The answer of another call. */
  readonly foreign: number;
  readonly samples: readonly Sample[];
  /** Ceilings and waits that are not empty although nobody is there any more. */
  readonly left: readonly string[];
  /** Warnings that Node printed (listeners without end and the like). */
  readonly warnings: readonly string[];
}

const CLIENTS = 70;
/** A server that drips shows signs of life: its calls end at their total. */
const TOTAL_MS = 10_000;
/** The total and 250 ms (P3), and room for a noisy machine. */
const ANSWER_MS = TOTAL_MS + 1500;
const IDLE_MS = 30_000;
const ENV = { NODE_ENV: 'test', MCPHUB_FAULT_HOOKS: '1' };

export async function soak(options: SoakOptions): Promise<SoakOutcome> {
  const web = await startFaultHttp({});
  await using hub = await startHub({
    config: {
      mcpServers: {
        calm: stdioServer(),
        victim: { ...stdioServer(), totalMs: TOTAL_MS },
        web: { type: 'http', url: web.url, totalMs: TOTAL_MS },
      },
    },
    env: ENV,
  });
  try {
    return await run(options, hub, web);
  } finally {
    await web.close();
  }
}

async function run(options: SoakOptions, hub: RunningHub, web: FaultHttp): Promise<SoakOutcome> {
  const random = generator(options.seed);
  const tally = { requests: 0, unanswered: [] as string[], calmFailed: [] as string[], foreign: 0 };
  const clients = Array.from({ length: CLIENTS }, () => new Client(hub));
  const [first = new Client(hub)] = clients;
  for (const tool of ['calm_echo', 'victim_echo', 'web_echo'])
    await until(async () => isResult(await first.call(tool, { text: 'up' })), 60_000, tool);
  await Promise.all(clients.map(async (client) => client.open()));
  await Promise.all(clients.map((client) => client.listen()));
  const stopped = new AbortController();
  const bornMs = performance.now();
  const callers = clients.map((client, at) => callOn(client, at, { random, tally, stopped: stopped.signal, bornMs }));
  const samples: Sample[] = [];
  const surroundings: Surroundings = { hub, web, random };
  const rounds = Math.max(1, Math.round((options.minutes * 60_000) / options.intervalMs));
  const bag: FaultName[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const fault = round === 0 ? 'none' : drawn(bag, random);
    const end = fault === 'none' ? async () => {} : await beginFault(fault, surroundings);
    await delay(options.intervalMs / 2);
    await end();
    await delay(options.intervalMs / 2 - COLLECT_MS);
    const sample = await look(hub, fault, (performance.now() - bornMs) / 60_000);
    samples.push(sample);
    options.say(sentence(sample, tally));
  }
  stopped.abort();
  await Promise.all(callers);
  for (const client of clients) client.close();
  const left = await leftBehind(hub);
  const warnings = hub.log.split('\n').filter((line) => /Warning: /.test(line));
  return { seed: options.seed, ...tally, samples, left, warnings };
}

interface Calling {
  readonly random: () => number;
  readonly tally: { requests: number; unanswered: string[]; calmFailed: string[]; foreign: number };
  readonly stopped: AbortSignal;
  readonly bornMs: number;
}

async function callOn(client: Client, at: number, { random, tally, stopped, bornMs }: Calling): Promise<void> {
  for (let turn = 0; !stopped.aborted; turn += 1) {
    const text = `c${at}-${turn}`;
    const [tool] = pick(['calm', 'calm', 'victim', 'web'], random);
    const answer =
      turn % 10 === 9 ? await client.list(ANSWER_MS) : await client.call(`${tool}_echo`, { text }, ANSWER_MS);
    tally.requests += 1;
    const isList = turn % 10 === 9;
    const when = `${Math.round((performance.now() - bornMs) / 1000)} s, ${isList ? 'list' : tool}`;
    if (answer.status === 0) note(tally.unanswered, `${when}: ${answer.fault}`);
    else if ((isList || tool === 'calm') && !isResult(answer)) note(tally.calmFailed, `${when}: ${short(answer)}`);
    else if (!isList && isResult(answer) && !answer.text.includes(text)) tally.foreign += 1;
    await delay(700 + random() * 600);
  }
}

function note(list: string[], line: string): void {
  list.push(list.length < 50 ? line : '');
}

function short({ status, text }: Answer): string {
  return `${status} ${text.slice(0, 300)}`;
}

const COLLECT_MS = 1500;

/** After a collection: the least of three looks. */
async function look(hub: RunningHub, fault: Sample['fault'], atMinutes: number): Promise<Sample> {
  const [pid = 0] = hub.processes().hub ?? [];
  let least: Sample | undefined;
  for (let turn = 0; turn < 3; turn += 1) {
    tryKill(pid, 'SIGURG');
    await delay(COLLECT_MS / 3);
    const { process, counts } = (await askHub(hub, '/api/health')) ?? { process: {}, counts: {} };
    const sample: Sample = {
      atMinutes,
      fault,
      rssBytes: process.rssBytes,
      heapBytes: process.heapBytes,
      descriptors: descriptorsOf(pid),
      guardDescriptors: descriptorsOf(hub.pid),
      processes: hub.descendants().length,
      active: process.active ?? 0,
      streams: counts.streams,
      sessions: counts.sessions,
    };
    if (least === undefined || sample.heapBytes < least.heapBytes) least = sample;
  }
  if (least === undefined) throw new Error('the hub does not say how it stands');
  return least;
}

function descriptorsOf(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

/** What has not come back to nothing within `IDLE_MS` after the last client left. */
async function leftBehind(hub: RunningHub): Promise<string[]> {
  let left: string[] = [];
  const emptied = async () => {
    const { waits } = await askHub(hub, '/api/waits');
    const { ceilings } = await askHub(hub, '/api/ceilings');
    left = [
      ...waits.flatMap(({ label, owner }: { label: string; owner: string }) =>
        /^(upstream-call|upstream-queue|drain|body)$/.test(label) ? [`wait ${label} of ${owner}`] : [],
      ),
      ...ceilings.flatMap(({ name, size }: { name: string; size: number }) =>
        /^(admission\.calls|downstream\.connections|session\.streams)$/.test(name) && size > 0
          ? [`${name} ${size}`]
          : [],
      ),
    ];
    return left.length === 0;
  };
  await until(emptied, IDLE_MS, 'emptiness').catch(() => {});
  return left;
}

function sentence(sample: Sample, tally: Calling['tally']): string {
  const mb = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MB`;
  return (
    `${sample.atMinutes.toFixed(1).padStart(5)} min  ${sample.fault.padEnd(18)} rss ${mb(sample.rssBytes)}  heap ${mb(sample.heapBytes)}  ` +
    `fds ${sample.descriptors}/${sample.guardDescriptors}  processes ${sample.processes}  active ${sample.active}  ` +
    `${tally.requests} requests, ${tally.unanswered.length} unanswered, ${tally.calmFailed.length} calm failed`
  );
}

/** Each fault once before any comes again. */
function drawn(bag: FaultName[], random: () => number): FaultName {
  if (bag.length === 0) bag.push(...FAULT_NAMES);
  const [name = 'none' as FaultName] = bag.splice(Math.floor(random() * bag.length), 1);
  return name;
}

function pick<T>(from: readonly [T, ...T[]], random: () => number): [T] {
  return [from[Math.floor(random() * from.length)] ?? from[0]];
}

/** mulberry32: small, seeded, good enough to choose faults. */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

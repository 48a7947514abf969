/**
 * What the guard sees: a living process's beat and its probe over its private socket, what /proc tells of it (elsewhere than on Linux:
 * nothing), and who holds a port. Eyes only; `verdict.ts` judges.
 * Promises: nothing here waits for a process or throws; one that is gone reads as undefined; a stream of beats that breaks is opened again
 * with the next look; one probe and one question to the stall-watching thread at a time; a probe lasts `probeMs`, time without a CPU not counted.
 */
import { readFileSync } from 'node:fs';
import { readdir, readFile, readlink } from 'node:fs/promises';
import { type ClientRequest, get } from 'node:http';
import { connect, type Socket } from 'node:net';
import type { Limits } from '../config/limits.ts';
import type { Beat } from '../kernel/supervisor-messages.ts';
import { type Observation, unexplainedMs } from './liveness-policy.ts';

/** More than one beat's line never waits. */
const BEAT_CHARS = 65_536;
/** A stream of beats that has not begun after this is tried anew. */
const BEGIN_MS = 3000;
/** From this lateness of a heartbeat on, the stall-watching thread is asked as well. */
const LATE_BEAT_MS = 1250;
/** The thread answers at once or not at all. */
const LOOP_ANSWER_MS = 500;
/** One line with a number. */
const LOOP_ANSWER_CHARS = 64;

export interface WatchOptions {
  readonly socketPath: string;
  /** Socket of its stall-watching thread. */
  readonly loopSocketPath: string;
  /** Read anew at each probe: the configuration may come later than the process. */
  readonly limits: Pick<Limits, 'probeMs'>;
}

export class Watch {
  readonly #options: WatchOptions;
  readonly #pid: number;
  readonly #bornMs = performance.now();
  #beatMs = -1;
  #atBeat = { cpuMs: 0, waitedMs: 0 };
  #beats: ClientRequest | undefined;
  #probe: ClientRequest | undefined;
  #probeSentMs = 0;
  /** Duration of the last probe that ended; undefined = it failed. */
  #probeTook: number | undefined;
  #failedProbes = 0;
  #loopQuestion: Socket | undefined;
  /** When the loop was last seen to advance, on this process's clock. */
  #loopAdvancedAtMs = Number.NEGATIVE_INFINITY;
  #closed = false;
  lastBeat: Beat | undefined;

  constructor(pid: number, options: WatchOptions) {
    this.#pid = pid;
    this.#options = options;
  }

  get sinceBeatMs(): number {
    return performance.now() - (this.#beatMs < 0 ? this.#bornMs : this.#beatMs);
  }

  /** It has said that it serves: from now on silence counts, also when it stalls before its first beat is read. */
  readied(): void {
    this.#mark();
    this.look();
  }

  /** Once a second, when it has said that it is ready: listens to its beat, asks it. */
  look(): void {
    this.#listen();
    this.#ask();
    if (this.sinceBeatMs >= LATE_BEAT_MS) this.#askThread();
  }

  /** `lateMs` = how late the guard itself is. */
  observe(lateMs: number, untakenMs: number): Observation {
    const facts = processFacts(this.#pid);
    const sinceBeatMs = this.sinceBeatMs;
    return {
      sinceBeatMs,
      booting: this.#beatMs < 0,
      cpuMs: facts && facts.cpuMs - this.#atBeat.cpuMs,
      waitedForCpuMs: waitedForCpuMs(this.#pid) - this.#atBeat.waitedMs,
      state: facts?.state,
      sleepsIn: sleepsIn(this.#pid),
      failedProbes: this.#failedProbes,
      probeMs: this.#probeMs,
      loopAdvancedMs: performance.now() - this.#loopAdvancedAtMs,
      untakenMs,
      guardLateMs: lateMs,
    };
  }

  close(): void {
    this.#closed = true;
    this.#beats?.destroy();
    this.#probe?.destroy();
    this.#loopQuestion?.destroy();
  }

  /** One that waits counts as soon as it has waited for longer than the last one took. */
  get #probeMs(): number {
    const pendingMs = this.#probe ? performance.now() - this.#probeSentMs : 0;
    return Math.max(pendingMs, this.#probeTook ?? Number.POSITIVE_INFINITY);
  }

  #listen(): void {
    if (this.#beats) return;
    const request = get({ socketPath: this.#options.socketPath, path: '/beat', agent: false });
    this.#beats = request;
    const begin = setTimeout(() => request.destroy(), BEGIN_MS);
    request.on('error', () => {});
    request.on('close', () => {
      clearTimeout(begin);
      if (this.#beats === request) this.#beats = undefined;
    });
    request.on('response', (answer) => {
      clearTimeout(begin);
      let held = '';
      answer.setEncoding('utf8');
      answer.on('error', () => {});
      answer.on('data', (chunk: string) => {
        if (answer.statusCode !== 200) return;
        const lines = (held + chunk).split('\n');
        held = (lines.pop() ?? '').slice(-BEAT_CHARS);
        const last = lines.at(-1);
        if (last !== undefined) this.#beat(last);
      });
    });
  }

  #beat(line: string): void {
    if (this.#closed) return;
    let beat: Beat | undefined;
    try {
      beat = JSON.parse(line) as Beat;
    } catch {
      // Not a line of ours; that one came is what counts.
    }
    // The name leads to the one that serves: of an heir and its forerunner, only one is heard there.
    if (beat && beat.pid !== this.#pid) return void this.#beats?.destroy();
    this.#mark();
    if (beat) this.lastBeat = beat;
  }

  #mark(): void {
    this.#beatMs = performance.now();
    this.#atBeat = { cpuMs: processFacts(this.#pid)?.cpuMs ?? 0, waitedMs: waitedForCpuMs(this.#pid) };
  }

  #ask(): void {
    if (this.#probe) return;
    const request = get({ socketPath: this.#options.socketPath, path: '/probe', agent: false });
    this.#probe = request;
    this.#probeSentMs = performance.now();
    let answered = false;
    const unanswered = this.#unanswered();
    const expire = (): void => {
      const leftMs = this.#options.limits.probeMs - unanswered();
      if (leftMs <= 0) request.destroy();
      else timer = setTimeout(expire, Math.max(leftMs, LOOP_ANSWER_MS));
    };
    let timer = setTimeout(expire, this.#options.limits.probeMs);
    request.on('response', (answer) => {
      answered = answer.statusCode === 200;
      if (answered) this.#probeTook = performance.now() - this.#probeSentMs;
      answer.on('error', () => {});
      answer.resume();
    });
    request.on('error', () => {});
    request.on('close', () => {
      clearTimeout(timer);
      this.#probe = undefined;
      this.#failedProbes = answered ? 0 : this.#failedProbes + 1;
      if (!answered) this.#probeTook = undefined;
    });
  }

  /** Returns what says for how long, from now on, a lack of CPU does not explain that there is no answer, in ms. */
  #unanswered(): () => number {
    const [bornMs, waitedMs] = [performance.now(), waitedForCpuMs(this.#pid)];
    const guardWaitedMs = waitedForCpuMs(process.pid);
    const bornCpuMs = processFacts(this.#pid)?.cpuMs ?? 0;
    return () => {
      const { cpuMs, state } = processFacts(this.#pid) ?? {};
      return unexplainedMs({
        elapsedMs: performance.now() - bornMs,
        waitedForCpuMs: waitedForCpuMs(this.#pid) - waitedMs,
        guardWaitedForCpuMs: waitedForCpuMs(process.pid) - guardWaitedMs,
        ...{ cpuMs: cpuMs === undefined ? undefined : cpuMs - bornCpuMs, state },
      });
    };
  }

  /** Asks the thread how long ago it saw the loop advance. A thread that is not there leaves the last answer, which grows old. */
  #askThread(): void {
    if (this.#loopQuestion) return;
    const socket = connect(this.#options.loopSocketPath);
    this.#loopQuestion = socket;
    const timer = setTimeout(() => socket.destroy(), LOOP_ANSWER_MS);
    let text = '';
    socket.setEncoding('latin1');
    socket.on('data', (chunk: string) => {
      text = (text + chunk).slice(0, LOOP_ANSWER_CHARS);
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      clearTimeout(timer);
      this.#loopQuestion = undefined;
      const [, agoMs] = /^(\d{1,9})\n$/.exec(text) ?? [];
      if (agoMs !== undefined) this.#loopAdvancedAtMs = performance.now() - Number(agoMs);
    });
  }
}

const TICK_MS = 10;

export interface ProcessFacts {
  readonly state: string;
  readonly cpuMs: number;
  /** Ticks since boot at which it started: with the pid, its identity. */
  readonly startTicks: string;
  readonly rssBytes: number;
}

export function processFacts(pid: number): ProcessFacts | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return {
      state: fields[0] ?? '?',
      cpuMs: (Number(fields[11]) + Number(fields[12])) * TICK_MS,
      startTicks: fields[19] ?? '',
      rssBytes: Number(fields[21]) * 4096,
    };
  } catch {
    return undefined;
  }
}

export function sleepsIn(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/wchan`, 'utf8');
  } catch {
    return '';
  }
}

/** Time it was runnable without a CPU, ms since its start. */
function waitedForCpuMs(pid: number): number {
  try {
    return Number(readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ')[1]) / 1e6;
  } catch {
    return 0;
  }
}

export function isAlive(pid: number, startTicks?: string): boolean {
  const facts = processFacts(pid);
  if (facts)
    return facts.state !== 'Z' && (startTicks === undefined || startTicks === '' || facts.startTicks === startTicks);
  if (process.platform === 'linux') return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Who listens on a TCP port of this machine: pid and command, or undefined where it cannot be seen. */
export async function portHolder(port: number): Promise<string | undefined> {
  const hex = port.toString(16).toUpperCase().padStart(4, '0');
  const inodes = new Set<string>(); // bounded by: sockets of this machine
  for (const table of ['/proc/net/tcp', '/proc/net/tcp6']) {
    const text = await readFile(table, 'utf8').catch(() => '');
    for (const line of text.split('\n')) {
      const fields = line.trim().split(/\s+/);
      if (fields[1]?.endsWith(`:${hex}`) && fields[3] === '0A' && fields[9]) inodes.add(fields[9]);
    }
  }
  if (inodes.size === 0) return undefined;
  for (const entry of await readdir('/proc').catch(() => [])) {
    if (!/^\d+$/.test(entry)) continue;
    if (await holdsSocket(entry, inodes)) {
      const command = await readFile(`/proc/${entry}/cmdline`, 'utf8').catch(() => '');
      return `pid ${entry} (${command.replaceAll('\0', ' ').trim().slice(0, 120)})`;
    }
  }
  return undefined;
}

async function holdsSocket(pid: string, inodes: ReadonlySet<string>): Promise<boolean> {
  for (const fd of await readdir(`/proc/${pid}/fd`).catch(() => [])) {
    const target = await readlink(`/proc/${pid}/fd/${fd}`).catch(() => '');
    const inode = /^socket:\[(\d+)\]$/.exec(target)?.[1];
    if (inode && inodes.has(inode)) return true;
  }
  return false;
}

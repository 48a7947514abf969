/**
 * What the guard sees of one living process: its beat and its probe over its private socket, and what /proc tells. Eyes only; `verdict.ts` judges.
 * Promises: nothing here waits for the process; a stream of beats that breaks is opened again with the next look; one probe at a time, each
 * bounded by `probeMs`.
 */
import { type ClientRequest, get } from 'node:http';
import type { Beat } from '../kernel/guard-wire.ts';
import { processFacts, sleepsIn, waitedForCpuMs } from './proc.ts';
import type { Observation } from './verdict.ts';

/** More than one beat's line never waits. */
const BEAT_CHARS = 65_536;
/** A stream of beats that has not begun after this is tried anew. */
const BEGIN_MS = 3000;

export interface WatchOptions {
  readonly socketPath: string;
  readonly probeMs: number;
}

export class Watch {
  readonly #options: WatchOptions;
  readonly #pid: number;
  readonly #bornMs = performance.now();
  #beatMs = -1;
  #atBeat = { cpuMs: 0, waitedMs: 0 };
  #beats: ClientRequest | undefined;
  #probe: ClientRequest | undefined;
  #failedProbes = 0;
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
      untakenMs,
      guardLateMs: lateMs,
    };
  }

  close(): void {
    this.#closed = true;
    this.#beats?.destroy();
    this.#probe?.destroy();
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
    this.#mark();
    try {
      this.lastBeat = JSON.parse(line) as Beat;
    } catch {
      // Not a line of ours; that one came is what counts.
    }
  }

  #mark(): void {
    this.#beatMs = performance.now();
    this.#atBeat = { cpuMs: processFacts(this.#pid)?.cpuMs ?? 0, waitedMs: waitedForCpuMs(this.#pid) };
  }

  #ask(): void {
    if (this.#probe) return;
    const request = get({ socketPath: this.#options.socketPath, path: '/probe', agent: false });
    this.#probe = request;
    let answered = false;
    const timer = setTimeout(() => request.destroy(), this.#options.probeMs);
    request.on('response', (answer) => {
      answered = answer.statusCode === 200;
      answer.on('error', () => {});
      answer.resume();
    });
    request.on('error', () => {});
    request.on('close', () => {
      clearTimeout(timer);
      this.#probe = undefined;
      this.#failedProbes = answered ? 0 : this.#failedProbes + 1;
    });
  }
}

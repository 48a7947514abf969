/**
 * One process under the guard: forked, watched by beat and probe, judged by `verdict.ts`, replaced when it is gone.
 * Promises: a dead one is forked again at once, with growing rests after too many deaths in a minute, for ever; before a kill the evidence is on
 * disk; its descendants are swept after its death; nothing here waits for it without a bound.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { type ClientRequest, get } from 'node:http';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import type { Limits } from '../config/limits.ts';
import {
  type Beat,
  DESCENDANT_MARK,
  GUARD_ENV,
  type GuardWord,
  type ProcessWord,
  socketName,
} from '../kernel/guard-wire.ts';
import { guiltyStack, writeEvidence } from './ground.ts';
import { processFacts, sleepsIn, sweepMarked, waitedForCpuMs } from './proc.ts';
import { verdictOn } from './verdict.ts';

export interface MemberOptions {
  readonly role: 'hub' | 'control';
  readonly slot: number;
  readonly entry: string;
  readonly execArgv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly dataDir: string;
  readonly runDir: string;
  /** Start of the mark of all descendants of this data directory. */
  readonly markRoot: string;
  readonly limits: Limits;
  readonly log: (level: 'info' | 'warn' | 'error', event: string, msg: string, more?: object) => void;
  readonly heard: (word: ProcessWord) => void;
  readonly ready: () => void;
  readonly gone: (code: number | null) => void;
}

const BOOT_MS = 15_000;
const RESTART_WINDOW_MS = 60_000;
const BACKOFF_CAP_MS = 30_000;
const END_GRACE_MS = 5000;
/** Stack and kernel state are gathered for at most this long before a kill. */
const EVIDENCE_MS = 300;
const BEAT_BYTES = 65_536;

export class Member {
  readonly #options: MemberOptions;
  readonly who: string;
  #child: ChildProcess | undefined;
  #mark = '';
  #instances = 0;
  #bornMs = 0;
  #beatMs = -1;
  #lastBeat: Beat | undefined;
  #atBeat = { cpuMs: 0, waitedMs: 0 };
  #beats: ClientRequest | undefined;
  #probe: ClientRequest | undefined;
  #failedProbes = 0;
  #deaths: number[] = []; // bounded by: restarts within a minute
  #rests = 0;
  #condemned: string | undefined;
  #stopping = false;
  #replacing = false;
  #respawn: NodeJS.Timeout | undefined;
  isReady = false;

  constructor(options: MemberOptions) {
    this.#options = options;
    this.who = `${options.role}-${options.slot}`;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  get alive(): boolean {
    return this.#child !== undefined;
  }

  fork(): void {
    const { role, slot, entry, env, execArgv, markRoot } = this.#options;
    this.#instances += 1;
    this.#mark = `${markRoot}${this.who}.${process.pid}.${String(this.#instances).padStart(6, '0')}`;
    this.#bornMs = performance.now();
    this.#beatMs = -1;
    this.#failedProbes = 0;
    this.#condemned = undefined;
    this.#atBeat = { cpuMs: 0, waitedMs: 0 };
    const child = spawn(process.execPath, [...execArgv, entry], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      env: { ...env, [GUARD_ENV.role]: role, [GUARD_ENV.slot]: String(slot), [DESCENDANT_MARK]: this.#mark },
    });
    this.#child = child;
    child.on('message', (word: ProcessWord) => this.#hear(word));
    child.on('error', (fault) =>
      this.#options.log('error', 'process-spawn-failed', `${this.who} cannot be started: ${fault.message}`),
    );
    child.once('exit', (code, signal) => this.#exited(child, code, signal));
  }

  say(word: GuardWord, socket?: Socket, sent: (fault: Error | null) => void = () => {}): void {
    const child = this.#child;
    if (!child?.connected) return sent(new Error('not connected'));
    // keepOpen: the copy here is closed when the hub says that it has the connection.
    child.send(word, socket, { keepOpen: true }, sent);
  }

  kill(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }

  /** It shall end and not come back. */
  end(): void {
    this.#stopping = true;
    clearTimeout(this.#respawn);
    if (!this.#child) return this.#options.gone(0);
    this.say({ t: 'drain' });
    this.kill('SIGTERM');
  }

  /** It shall drain, and a new one take its place. */
  replace(): void {
    this.#replacing = true;
    this.say({ t: 'drain' });
  }

  /** Called once a second. `lateMs` = how late the guard itself is. */
  look(lateMs: number): void {
    const child = this.#child;
    const pid = child?.pid;
    if (!child || pid === undefined || this.#stopping) return;
    this.#connectBeat();
    this.#sendProbe();
    if (this.#condemned) return;
    const facts = processFacts(pid);
    const sinceMs = performance.now() - (this.#beatMs < 0 ? this.#bornMs : this.#beatMs);
    const { beatMs, beatCpuMs } = this.#options.limits;
    const verdict = verdictOn(
      {
        sinceBeatMs: sinceMs,
        booting: this.#beatMs < 0,
        cpuMs: facts && facts.cpuMs - this.#atBeat.cpuMs,
        waitedForCpuMs: waitedForCpuMs(pid) - this.#atBeat.waitedMs,
        state: facts?.state,
        sleepsIn: sinceMs > beatMs ? sleepsIn(pid) : '',
        failedProbes: this.#failedProbes,
        guardLateMs: lateMs,
      },
      { beatMs, beatCpuMs, bootMs: BOOT_MS },
    );
    if (verdict.act !== 'none') this.#condemn(child, verdict.act, verdict.why);
  }

  #condemn(child: ChildProcess, act: 'kill' | 'end', why: string): void {
    this.#condemned = why;
    const pid = child.pid ?? -1;
    const strike = () => {
      if (this.#child === child) child.kill('SIGKILL');
    };
    void Promise.race([this.#evidence(pid, why), later(EVIDENCE_MS)]).then((evidence) => {
      this.#options.log(
        'error',
        'process-condemned',
        `${this.who} (pid ${pid}) is ${act === 'kill' ? 'killed' : 'ended'}: ${why}`,
        { evidence, pid },
      );
      if (act === 'kill') return strike();
      this.say({ t: 'drain' });
      setTimeout(strike, END_GRACE_MS).unref();
    });
  }

  async #evidence(pid: number, why: string): Promise<string | undefined> {
    const { dataDir, runDir } = this.#options;
    const stack = await guiltyStack(runDir, this.who, pid);
    const found = {
      at: new Date().toISOString(),
      process: this.who,
      pid,
      why,
      facts: processFacts(pid),
      sleepsIn: sleepsIn(pid),
      lastBeat: this.#lastBeat,
      sinceBeatMs: Math.round(performance.now() - this.#beatMs),
      guiltyStack: stack?.split('\n'),
    };
    return writeEvidence(dataDir, this.who, found);
  }

  #hear(word: ProcessWord): void {
    if (word.t === 'ready') {
      this.isReady = true;
      this.#options.ready();
    }
    this.#options.heard(word);
  }

  #exited(child: ChildProcess, code: number | null, signal: string | null): void {
    if (this.#child !== child) return;
    const { log, gone, dataDir } = this.#options;
    this.#child = undefined;
    this.isReady = false;
    this.#beats?.destroy();
    this.#beats = undefined;
    this.#probe?.destroy();
    this.#probe = undefined;
    const mark = this.#mark;
    void sweepMarked(DESCENDANT_MARK, mark).then((pids) => {
      if (pids.length > 0)
        log('warn', 'children-swept', `${pids.length} processes of the late ${this.who} were ended`, { pids });
    });
    gone(code);
    if (this.#stopping || code === 78) return;
    const asked = this.#replacing;
    this.#replacing = false;
    const restMs = asked ? 0 : this.#restMs();
    if (!asked) {
      const why = this.#condemned ?? `it ended with ${signal ?? `code ${code}`}`;
      log(
        'error',
        'process-died',
        `${this.who} (pid ${child.pid}) is gone: ${why}; ${restMs > 0 ? `the next one comes in ${restMs} ms` : 'the next one is started'}`,
        { code, signal },
      );
      if (!this.#condemned)
        void writeEvidence(dataDir, this.who, {
          at: new Date().toISOString(),
          process: this.who,
          pid: child.pid,
          why,
          code,
          signal,
          lastBeat: this.#lastBeat,
        });
    }
    this.#respawn = setTimeout(() => this.fork(), restMs);
  }

  /** At once, unless it died too often within a minute. */
  #restMs(): number {
    const nowMs = performance.now();
    this.#deaths = [...this.#deaths.filter((atMs) => nowMs - atMs < RESTART_WINDOW_MS), nowMs];
    const { restarts, guardBackoffMs } = this.#options.limits;
    if (this.#deaths.length <= restarts) {
      this.#rests = 0;
      return 0;
    }
    this.#rests += 1;
    this.#deaths = this.#deaths.slice(-restarts - 1);
    const stepMs = Math.min(BACKOFF_CAP_MS, guardBackoffMs * 2 ** (this.#rests - 1));
    return Math.round(stepMs * (0.75 + Math.random() * 0.25));
  }

  #socketPath(): string {
    return join(this.#options.runDir, socketName(this.#options.role, this.#options.slot));
  }

  #connectBeat(): void {
    if (this.#beats || !this.isReady) return;
    const request = get({ socketPath: this.#socketPath(), path: '/beat', agent: false });
    this.#beats = request;
    const over = () => {
      if (this.#beats === request) this.#beats = undefined;
    };
    request.on('error', over);
    request.on('close', over);
    request.on('response', (answer) => {
      let held = '';
      answer.setEncoding('utf8');
      answer.on('error', over);
      answer.on('data', (chunk: string) => {
        held = (held + chunk).slice(-BEAT_BYTES);
        const lines = held.split('\n');
        held = lines.pop() ?? '';
        const last = lines.at(-1);
        if (last) this.#beat(last);
      });
    });
  }

  #beat(line: string): void {
    const pid = this.#child?.pid;
    if (pid === undefined) return;
    this.#beatMs = performance.now();
    this.#atBeat = { cpuMs: processFacts(pid)?.cpuMs ?? 0, waitedMs: waitedForCpuMs(pid) };
    try {
      this.#lastBeat = JSON.parse(line) as Beat;
    } catch {
      // Half a line; the next one comes in a second.
    }
  }

  #sendProbe(): void {
    if (this.#probe || !this.isReady) return;
    const request = get({ socketPath: this.#socketPath(), path: '/probe', agent: false });
    this.#probe = request;
    let answered = false;
    const timer = setTimeout(() => request.destroy(), this.#options.limits.probeMs);
    request.on('response', (answer) => {
      answered = answer.statusCode === 200;
      answer.resume();
    });
    request.on('error', () => {});
    request.on('close', () => {
      clearTimeout(timer);
      if (this.#probe !== request) return;
      this.#probe = undefined;
      this.#failedProbes = answered ? 0 : this.#failedProbes + 1;
    });
  }
}

function later(ms: number): Promise<undefined> {
  return new Promise((resolve) => setTimeout(() => resolve(undefined), ms).unref());
}

/**
 * Process 1: owns the port, forks control and the hubs, watches them, replaces them, and ends everything in order.
 * Promises: the port is open before the first fork and stays open; hubs and control come back independently; an orderly stop is over by
 * `killMs` and leaves no process, no lock, no socket; a second signal ends at once; a bad configuration, a second hub and a port in use end with
 * code 78 and a sentence.
 * Does not: serve a request, read configuration, or wait for anybody without a bound. node:* and pure files only.
 */
import { createHash } from 'node:crypto';
import { realpathSync } from 'node:fs';
import type { Limits } from '../config/limits.ts';
import { DESCENDANT_MARK, GUARD_ENV, type ProcessWord } from '../kernel/guard-wire.ts';
import { openSink } from '../telemetry/sink.ts';
import { Door } from './door.ts';
import { Hopeless, isTerminalGone, lockDataDir, prepareRunDir, surviveBrokenPipes } from './ground.ts';
import { Member } from './member.ts';
import { portHolder, sweepMarked } from './proc.ts';

export interface GuardOptions {
  readonly port: number;
  /** Undefined = 127.0.0.1 and ::1. */
  readonly host: string | undefined;
  readonly hubs: number;
  readonly dataDir: string;
  readonly runDir: string;
  readonly configFile: string | undefined;
  /** Path of process/main.ts. */
  readonly entry: string;
  readonly limits: Limits;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** A person is watching stdout. */
  readonly terminal: boolean;
  readonly version: string;
}

const LOOK_MS = 1000;
const HUB_FLAGS = ['--enable-experimental-regexp-engine-on-excessive-backtracks'];
const EXIT_HOPELESS = 78;
const FLUSH_MS = 300;

/** Runs until it has been told to stop; the answer is the exit code. */
export async function runGuard(options: GuardOptions): Promise<number> {
  return new Guard(options).run();
}

class Guard {
  readonly #options: GuardOptions;
  readonly #door: Door;
  readonly #sink: ReturnType<typeof openSink>;
  readonly #errors: ReturnType<typeof openSink>;
  readonly #done = Promise.withResolvers<number>();
  #hubs: Member[] = []; // bounded by: hubs
  #control: Member | undefined;
  #lock: { release(): void } | undefined;
  #markRoot = '';
  #stopping = false;
  #lookedMs = 0;
  #exitCode = 0;
  #finishing = false;
  #rolling = false;

  constructor(options: GuardOptions) {
    this.#options = options;
    const { port, host, limits } = options;
    this.#door = new Door({ port, host, handoverMs: limits.handoverMs, handoverQueue: limits.handoverQueue });
    this.#sink = openSink({ fd: 1, maxBytes: limits.logBytes });
    this.#errors = openSink({ fd: 2, maxBytes: limits.logBytes });
  }

  async run(): Promise<number> {
    surviveBrokenPipes();
    try {
      await this.#start();
    } catch (fault) {
      this.#lock?.release();
      if (!(fault instanceof Hopeless)) throw fault;
      this.#complain(fault.lines);
      await this.#errors.flush(FLUSH_MS);
      return EXIT_HOPELESS;
    }
    const code = await this.#done.promise;
    await Promise.all([this.#sink.flush(FLUSH_MS), this.#errors.flush(FLUSH_MS)]);
    return code;
  }

  async #start(): Promise<void> {
    const { dataDir, runDir } = this.#options;
    this.#lock = lockDataDir(dataDir);
    prepareRunDir(runDir);
    await this.#openDoor();
    this.#markRoot = `${createHash('sha256').update(realpathSync(dataDir)).digest('hex').slice(0, 12)}.`;
    const swept = await sweepMarked(DESCENDANT_MARK, this.#markRoot);
    if (swept.length > 0)
      this.#log('warn', 'children-swept', `${swept.length} processes of an earlier run were ended`, { pids: swept });
    this.#listenToSignals();
    this.#control = this.#member('control', 0);
    this.#hubs = Array.from({ length: this.#options.hubs }, (_, at) => this.#member('hub', at + 1));
    for (const hub of this.#hubs) hub.fork();
    this.#control.fork();
    this.#lookedMs = performance.now();
    setInterval(() => this.#look(), LOOK_MS);
    this.#log('info', 'listening-started', `listening on port ${this.#door.port}`, {
      port: this.#door.port,
      host: this.#options.host ?? 'loopback',
      hubs: this.#options.hubs,
      pid: process.pid,
    });
  }

  async #openDoor(): Promise<void> {
    try {
      await this.#door.listen();
    } catch (thrown) {
      const fault = thrown as NodeJS.ErrnoException;
      const { port, host } = this.#options;
      if (fault.code === 'EADDRINUSE') {
        const holder = await portHolder(port);
        throw new Hopeless([
          `Port ${port} is in use${holder ? ` by ${holder}` : ''}. Choose another with --port or PORT.`,
        ]);
      }
      throw new Hopeless([`Cannot listen on ${host ?? 'loopback'} port ${port}: ${fault.message}`]);
    }
  }

  #member(role: 'hub' | 'control', slot: number): Member {
    const { entry, env, dataDir, runDir, limits, configFile, hubs, terminal } = this.#options;
    const member: Member = new Member({
      role,
      slot,
      entry,
      execArgv: role === 'hub' ? HUB_FLAGS : [],
      env: {
        ...env,
        [GUARD_ENV.hubs]: String(hubs),
        [GUARD_ENV.dataDir]: dataDir,
        [GUARD_ENV.runDir]: runDir,
        ...(configFile === undefined ? {} : { [GUARD_ENV.configFile]: configFile }),
        PORT: String(this.#door.port),
        MCPHUB_TERMINAL: terminal ? '1' : '0',
      },
      dataDir,
      runDir,
      markRoot: this.#markRoot,
      limits,
      log: (level, event, msg, more) => this.#log(level, event, msg, more),
      heard: (word) => this.#hear(member, slot, word),
      ready: () => {
        if (role === 'hub') this.#door.opened(member);
      },
      untakenMs: () => (role === 'hub' ? this.#door.untakenMs(slot) : 0),
      leaving: () => {
        if (role === 'hub') this.#door.left(slot);
      },
      gone: (code) => this.#gone(member, role, slot, code),
    });
    return member;
  }

  #hear(member: Member, slot: number, word: ProcessWord): void {
    if (word.t === 'taken') this.#door.taken(slot, word.n);
    // Through the sink: a terminal that nobody reads must not stop the guard.
    else if (word.t === 'tell') for (const line of word.lines) this.#sink.write(`${line}\n`);
    else if (word.t === 'hopeless') this.#hopeless(member, word.lines);
  }

  /** Before anything served: the end. Later (a configuration that was broken meanwhile) the hubs go on from the world they have. */
  #hopeless(member: Member, lines: readonly string[]): void {
    if (member.wasReady) return this.#log('error', 'restart-hopeless', `${member.who}: ${lines.join('; ')}`);
    this.#complain(lines);
    this.#stop(EXIT_HOPELESS);
  }

  /** Through a sink too: the terminal behind stderr is the same. */
  #complain(lines: readonly string[]): void {
    for (const line of lines) this.#errors.write(`${line}\n`);
  }

  #gone(member: Member, role: 'hub' | 'control', slot: number, code: number | null): void {
    if (role === 'hub') this.#door.closed(slot);
    if (!this.#stopping && code === EXIT_HOPELESS && !member.wasReady) this.#stop(EXIT_HOPELESS);
    if (this.#stopping) this.#finishIfEmpty();
  }

  #look(): void {
    const lateMs = performance.now() - this.#lookedMs - LOOK_MS;
    this.#lookedMs += lateMs + LOOK_MS;
    for (const member of this.#all()) member.look(lateMs);
  }

  #all(): Member[] {
    return this.#control ? [...this.#hubs, this.#control] : this.#hubs;
  }

  #listenToSignals(): void {
    let faults: number[] = []; // bounded by: OWN_FAULTS
    const own = (fault: unknown) => {
      this.#log('error', 'guard-faulted', fault instanceof Error ? (fault.stack ?? fault.message) : String(fault));
      faults = [...faults.filter((atMs) => performance.now() - atMs < 60_000), performance.now()].slice(-OWN_FAULTS);
      if (faults.length === OWN_FAULTS) this.#stop(1);
    };
    process.on('uncaughtException', own);
    process.on('unhandledRejection', own);
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.on(signal, () => {
        if (this.#stopping) return this.#killAll(`a second ${signal}`, 1);
        this.#log('info', 'drain-started', `${signal}: stopping`);
        this.#stop(0);
      });
    }
    process.on('SIGHUP', () => {
      if (!isTerminalGone()) return this.#control?.say({ t: 'reload' });
      this.#log('info', 'drain-started', 'the terminal is gone: stopping');
      this.#stop(0);
    });
    process.on('SIGUSR2', () => void this.#roll());
  }

  /** Hubs first, so that control can note what they report; then control; then everything that is left. */
  #stop(code: number): void {
    if (this.#stopping) return;
    this.#stopping = true;
    this.#exitCode = code;
    const { limits, terminal } = this.#options;
    if (terminal || code !== 0) this.#door.close();
    else setTimeout(() => this.#door.close(), limits.balancerMs).unref();
    setTimeout(() => this.#killAll('its time is over', code), limits.killMs);
    // A signal to the whole group ends control early; that is no reason for another one.
    this.#control?.retire();
    for (const hub of this.#hubs) hub.end();
    this.#finishIfEmpty();
  }

  #finishIfEmpty(): void {
    if (this.#hubs.some((hub) => hub.alive)) return;
    this.#door.close();
    const control = this.#control;
    if (!control?.alive) return void this.#finish(this.#exitCode);
    control.end();
    setTimeout(() => control.kill('SIGKILL'), CONTROL_MS).unref();
  }

  #killAll(why: string, code: number): void {
    this.#log('warn', 'kill-all', `ending everything that is left: ${why}`);
    for (const member of this.#all()) member.kill('SIGKILL');
    void this.#finish(code);
  }

  async #finish(code: number): Promise<void> {
    if (this.#finishing) return;
    this.#finishing = true;
    this.#door.close();
    // Reading another process's environment can block in the kernel.
    await Promise.race([sweepMarked(DESCENDANT_MARK, this.#markRoot), restFor(SWEEP_MS)]);
    try {
      prepareRunDir(this.#options.runDir);
    } catch {
      // The next start cleans up.
    }
    this.#lock?.release();
    this.#log('info', 'process-stopped', 'stopped');
    this.#done.resolve(code);
  }

  /** SIGUSR2: one hub after the other drains and is replaced. */
  async #roll(): Promise<void> {
    if (this.#rolling || this.#stopping) return;
    this.#rolling = true;
    this.#log('info', 'rolling-started', `replacing ${this.#hubs.length} hubs one after the other`);
    for (const hub of this.#hubs) {
      const old = hub.pid;
      hub.replace();
      for (
        let waitedMs = 0;
        waitedMs < this.#options.limits.killMs && !(hub.isReady && hub.pid !== old) && !this.#stopping;
        waitedMs += 100
      )
        await restFor(100);
    }
    this.#rolling = false;
    this.#log('info', 'rolling-ended', 'all hubs are replaced');
  }

  #log(level: string, event: string, msg: string, more: object = {}): void {
    const time = new Date().toISOString();
    const { terminal, version } = this.#options;
    const line = terminal
      ? `${time.slice(11, 19)} ${level.padEnd(5)} guard ${msg}`
      : JSON.stringify({ time, level, msg, service: 'mcphub', version, role: 'guard', event, ...more });
    this.#sink.write(`${line}\n`);
  }
}

const CONTROL_MS = 6000; // more than control's own budget
const SWEEP_MS = 3000;
/** Faults of the guard's own within a minute after which it gives up in order. */
const OWN_FAULTS = 5;

function restFor(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/**
 * Process 1: owns the port, forks control and the hubs, watches them, replaces them, and ends everything in order.
 * Promises: control and the first hub load while control reads the configuration; the port opens when that is good, and stays open; hubs and
 * control come back independently; an orderly stop is over by `killMs` and leaves no process, no lock, no socket; a second signal ends at
 * once; a bad configuration, a second hub and a port in use end with code 78 and a sentence.
 * Does not: serve a request, read configuration, or wait for anybody without a bound. node:* and pure files only.
 */
import { createHash } from 'node:crypto';
import { realpathSync } from 'node:fs';
import { setTimeout as restFor } from 'node:timers/promises';
import type { LimitName, Limits } from '../config/limits.ts';
import { GUARD_ENV, HUB_FLAGS, type ProcessWord } from '../kernel/guard-wire.ts';
import { sweepMarked } from '../kernel/sweep.ts';
import { openSink, type Sink } from '../telemetry/sink.ts';
import { Door } from './door.ts';
import { EXIT_HOPELESS, Hopeless, listenToSystem, lockDataDir, prepareRunDir } from './ground.ts';
import { Member } from './member.ts';

export interface GuardOptions {
  /** What the command line gives; wins over environment and file. */
  readonly flags: Partial<Record<LimitName, number>>;
  /** Undefined = 127.0.0.1 and ::1. */
  readonly host: string | undefined;
  readonly dataDir: string;
  readonly runDir: string;
  readonly configFile: string | undefined;
  /** Path of process/main.ts. */
  readonly entry: string;
  /** What is known before the configuration is read. */
  readonly limits: Limits;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** A person is watching stdout. */
  readonly terminal: boolean;
  readonly version: string;
}

const LOOK_MS = 1000;
const FLUSH_MS = 300;
/** Deaths of control before it has read the configuration after which the start is given up. */
const EARLY_DEATHS = 3;

/** Runs until it has been told to stop; the answer is the exit code. */
export async function runGuard(options: GuardOptions): Promise<number> {
  return new Guard(options).run();
}

class Guard {
  readonly #options: GuardOptions;
  /** Changed once, when control has read the configuration. */
  readonly #limits: Limits;
  readonly #door: Door;
  readonly #done = Promise.withResolvers<number>();
  #hubs: Member[] = []; // bounded by: hubs
  #control: Member | undefined;
  /** By descriptor. */
  readonly #sinks: { 1?: Sink; 2?: Sink } = {};
  #lock: { release(): void } | undefined;
  #markRoot = '';
  #opening: Promise<void> | undefined;
  #isOpen = false;
  #earlyDeaths = 0;
  #stopping = false;
  #lookedMs = performance.now();
  #exitCode = 0;
  #finishing = false;
  #rolling = false;

  constructor(options: GuardOptions) {
    this.#options = options;
    this.#limits = { ...options.limits };
    this.#door = new Door(this.#limits);
  }

  async run(): Promise<number> {
    let code: number;
    try {
      await this.#start();
      code = await this.#done.promise;
    } catch (fault) {
      this.#lock?.release();
      if (!(fault instanceof Hopeless)) throw fault;
      this.#print(2, fault.lines);
      code = EXIT_HOPELESS;
    }
    await Promise.all(Object.values(this.#sinks).map((sink) => sink.flush(FLUSH_MS)));
    return code;
  }

  async #start(): Promise<void> {
    const { dataDir, runDir } = this.#options;
    this.#listen();
    const lock = lockDataDir(dataDir);
    this.#lock = lock;
    prepareRunDir(runDir);
    this.#markRoot = `${createHash('sha256').update(realpathSync(dataDir)).digest('hex').slice(0, 12)}.`;
    // A guard that ends in order sweeps itself.
    const pids = lock.wasStale ? await sweepMarked(this.#markRoot) : [];
    if (pids.length > 0)
      this.#log('warn', 'children-swept', `${pids.length} processes of an earlier run were ended`, { pids });
    if (this.#stopping) return;
    this.#control = this.#member('control', 0);
    this.#control.fork();
    this.#addHub();
    setInterval(() => this.#look(), LOOK_MS);
  }

  #addHub(): void {
    const hub = this.#member('hub', this.#hubs.length + 1);
    this.#hubs.push(hub);
    hub.fork();
  }

  /** The configuration is good: the port opens, and everybody may begin what leaves traces. */
  async #open({ limits, lines }: ProcessWord & { t: 'configured' }): Promise<void> {
    Object.assign(this.#limits, limits);
    this.#print(2, lines);
    const { host } = this.#options;
    try {
      await this.#door.listen(this.#limits.port, host);
    } catch (fault) {
      if (!(fault instanceof Hopeless)) throw fault;
      return this.#hopeless(fault.lines);
    }
    if (this.#stopping) return;
    this.#isOpen = true;
    for (const member of this.#all()) this.#letGo(member);
    const [{ port }, { hubs }] = [this.#door, this.#limits];
    while (this.#hubs.length < hubs) this.#addHub();
    const more = { port, host: host ?? 'loopback', hubs, pid: process.pid };
    this.#log('info', 'listening-started', `listening on port ${port}`, more);
  }

  #letGo(member: Member): void {
    if (this.#isOpen) member.say({ t: 'go', port: this.#door.port });
  }

  #member(role: 'hub' | 'control', slot: number): Member {
    const { entry, env, dataDir, runDir, configFile, terminal, flags } = this.#options;
    const member: Member = new Member({
      role,
      slot,
      entry,
      execArgv: role === 'hub' ? HUB_FLAGS : [],
      env: {
        ...env,
        [GUARD_ENV.dataDir]: dataDir,
        [GUARD_ENV.runDir]: runDir,
        ...(configFile === undefined ? {} : { [GUARD_ENV.configFile]: configFile }),
        [GUARD_ENV.flags]: JSON.stringify(flags),
        MCPHUB_TERMINAL: terminal ? '1' : '0',
      },
      dataDir,
      runDir,
      markRoot: this.#markRoot,
      limits: this.#limits,
      door: role === 'hub' ? this.#door : undefined,
      log: (level, event, msg, more) => this.#log(level, event, msg, more),
      forked: () => this.#letGo(member),
      heard: (word) => this.#hear(member, word),
      ready: () => {
        if (role === 'control') for (const hub of this.#hubs) hub.say({ t: 'control-ready' });
      },
      gone: (code) => this.#gone(member, role, code),
    });
    return member;
  }

  #hear(member: Member, word: ProcessWord): void {
    if (word.t === 'tell') this.#print(1, word.lines);
    else if (word.t === 'configured') this.#opening ??= this.#open(word);
    else if (word.t !== 'hopeless') return;
    // Before anything served: the end. Later (a configuration that was broken meanwhile) the hubs go on from the world they have.
    else if (member.wasReady) this.#log('error', 'restart-hopeless', `${member.who}: ${word.lines.join('; ')}`);
    else this.#hopeless(word.lines);
  }

  #hopeless(lines: readonly string[]): void {
    this.#print(2, lines);
    this.#stop(EXIT_HOPELESS);
  }

  /** Through sinks: a terminal that nobody reads must not stop the guard. */
  #print(fd: 1 | 2, lines: readonly string[]): void {
    this.#sinks[fd] ??= openSink({ fd, maxBytes: this.#limits.logBytes });
    for (const line of lines) this.#sinks[fd]?.write(`${line}\n`);
  }

  #gone(member: Member, role: 'hub' | 'control', code: number | null): void {
    if (this.#stopping) return this.#finishIfEmpty();
    if (code === EXIT_HOPELESS && !member.wasReady) return this.#stop(EXIT_HOPELESS);
    if (role === 'hub' || this.#isOpen) return;
    this.#earlyDeaths += 1;
    if (this.#earlyDeaths < EARLY_DEATHS) return;
    this.#print(2, [`Not started: control ended ${EARLY_DEATHS} times before it had read the configuration.`]);
    this.#stop(1);
  }

  #look(): void {
    const lateMs = performance.now() - this.#lookedMs - LOOK_MS;
    this.#lookedMs += lateMs + LOOK_MS;
    for (const member of this.#all()) member.look(lateMs);
  }

  #all(): Member[] {
    return this.#control ? [...this.#hubs, this.#control] : this.#hubs;
  }

  #listen(): void {
    listenToSystem({
      asked: (signal) => {
        if (this.#stopping) return this.#killAll(`a second ${signal}`, 1);
        this.#log('info', 'drain-started', `${signal}: stopping`);
        this.#stop(0);
      },
      hungUp: () => {
        this.#log('info', 'drain-started', 'the terminal is gone: stopping');
        this.#stop(0);
      },
      reload: () => this.#control?.say({ t: 'reload' }),
      roll: () => void this.#roll(),
      faulted: (words, isLast) => {
        this.#log('error', 'guard-faulted', words);
        if (isLast) this.#stop(1);
      },
    });
  }

  /** Hubs first, so that control can note what they report; then control; then everything that is left. */
  #stop(code: number): void {
    if (this.#stopping) return;
    this.#stopping = true;
    this.#exitCode = code;
    const { balancerMs, killMs } = this.#limits;
    if (this.#options.terminal || code !== 0) this.#door.close();
    else setTimeout(() => this.#door.close(), balancerMs).unref();
    setTimeout(() => this.#killAll('its time is over', code), killMs);
    // A signal to the whole group ends control early; that is no reason for another one.
    this.#control?.retire();
    for (const hub of this.#hubs) hub.end(this.#isOpen ? 'drain' : 'kill');
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
    await Promise.race([sweepMarked(this.#markRoot), restFor(SWEEP_MS)]);
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
      const untilMs = performance.now() + this.#limits.killMs;
      while (performance.now() < untilMs && !this.#stopping && !(hub.isReady && hub.pid !== old)) await restFor(100);
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
    this.#print(1, [line]);
  }
}

const CONTROL_MS = 6000; // more than control's own budget
const SWEEP_MS = 3000;

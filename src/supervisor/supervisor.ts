/** The supervisor: forks control and the workers, opens the port, replaces what fails, and ends everything in order. */
import { createHash } from 'node:crypto';
import { realpathSync } from 'node:fs';
import { setTimeout as restFor } from 'node:timers/promises';
import { directoryWarnings } from '../config/file-access.ts';
import type { LimitName, Limits } from '../config/limits.ts';
import { memoryShare } from '../config/memory-share.ts';
import { CONTROL_FLAGS, GUARD_ENV, HUB_FLAGS, type ProcessWord } from '../kernel/supervisor-messages.ts';
import { sweepMarked } from '../kernel/sweep.ts';
import { WorkerToken } from '../kernel/worker-token.ts';
import { connectionRoom, Door } from './connection-dispatcher.ts';
import { EXIT_HOPELESS, Hopeless, listenToSystem, lockDataDir, prepareRunDir, untoldEvidence } from './host.ts';
import { Member } from './managed-process.ts';
import { Voice } from './supervisor-log.ts';
import { Notify } from './systemd-notify.ts';

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
/** Deaths of control before it has read the configuration after which the start is given up. */
const EARLY_DEATHS = 3;

/** Runs until it has been told to stop; the answer is the exit code. */
export const runGuard = (options: GuardOptions): Promise<number> => new Guard(options).run();

class Guard {
  readonly #options: GuardOptions;
  /** Changed once, when control has read the configuration. */
  readonly #limits: Limits;
  readonly #door: Door;
  readonly #done = Promise.withResolvers<number>();
  #hubs: Member[] = []; // bounded by: hubs
  #control: Member | undefined;
  readonly #voice: Voice;
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
  readonly #notify: Notify;
  readonly #workerToken = new WorkerToken();

  constructor(options: GuardOptions) {
    this.#options = options;
    this.#limits = { ...options.limits };
    this.#door = new Door(this.#limits, connectionRoom(this.#limits.connections), (times) =>
      this.#voice.log('warn', 'request-refused', `${times} connections got 503: no worker took them in time`, {
        code: 'starting',
        times,
      }),
    );
    this.#voice = new Voice({ ...options, limits: this.#limits });
    const deaf = (why: string) => this.#voice.log('warn', 'notify-failed', `systemd cannot be told: ${why}`);
    this.#notify = new Notify(options.env, deaf);
  }

  async run(): Promise<number> {
    let code: number;
    try {
      await this.#start();
      code = await this.#done.promise;
    } catch (fault) {
      this.#lock?.release();
      if (!(fault instanceof Hopeless)) throw fault;
      this.#voice.print(2, fault.lines);
      code = EXIT_HOPELESS;
    }
    await this.#voice.flush();
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
      this.#voice.log('warn', 'children-swept', `${pids.length} processes of an earlier run were ended`, { pids });
    for (const sentence of untoldEvidence(dataDir)) this.#voice.log('warn', 'earlier-death', `last time: ${sentence}`);
    for (const text of directoryWarnings(dataDir)) this.#voice.log('warn', 'data-dir-writable', text);
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
    this.#voice.print(2, lines);
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
    this.#voice.log('info', 'listening-started', `listening on port ${port}`, more);
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
      execArgv: () =>
        role === 'hub' ? [...HUB_FLAGS, `--max-old-space-size=${memoryShare(this.#limits).heapMb}`] : CONTROL_FLAGS,
      ceilingBytes: () => memoryShare(this.#limits).ceilingBytes,
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
      log: (level, event, msg, more) => this.#voice.log(level, event, msg, more),
      forked: () => {
        this.#workerToken.forked(role, member, this.#hubs);
        this.#letGo(member);
      },
      heard: (word) => this.#hear(member, word),
      ready: () => {
        if (role === 'control') for (const hub of this.#hubs) hub.say({ t: 'control-ready' });
        else if (this.#isOpen) this.#notify.ready(`serving on port ${this.#door.port}`);
      },
      gone: (code) => this.#gone(member, role, code),
    });
    return member;
  }

  #hear(member: Member, word: ProcessWord): void {
    if (word.t === 'tell') this.#voice.print(1, word.lines);
    else if (word.t === 'configured') this.#opening ??= this.#open(word);
    else if (word.t !== 'hopeless') return;
    // Before anything served: the end. Later (a configuration that was broken meanwhile) the hubs go on from the world they have.
    else if (member.wasReady) this.#voice.log('error', 'restart-hopeless', `${member.who}: ${word.lines.join('; ')}`);
    else this.#hopeless(word.lines);
  }

  #hopeless(lines: readonly string[]): void {
    this.#voice.print(2, lines);
    this.#stop(EXIT_HOPELESS);
  }

  #gone(member: Member, role: 'hub' | 'control', code: number | null): void {
    if (this.#stopping) return this.#finishIfEmpty();
    if (code === EXIT_HOPELESS && !member.wasReady) return this.#stop(EXIT_HOPELESS);
    if (role === 'hub' || this.#isOpen) return;
    this.#earlyDeaths += 1;
    if (this.#earlyDeaths < EARLY_DEATHS) return;
    this.#voice.print(2, [`Not started: control ended ${EARLY_DEATHS} times before it had read the configuration.`]);
    this.#stop(1);
  }

  #look(): void {
    const lateMs = performance.now() - this.#lookedMs - LOOK_MS;
    this.#lookedMs += lateMs + LOOK_MS;
    for (const member of this.#all()) member.look(lateMs);
    this.#notify.feed(this.#lookedMs);
  }

  #all(): Member[] {
    return this.#control ? [...this.#hubs, this.#control] : this.#hubs;
  }

  #listen(): void {
    listenToSystem({
      asked: (signal) => {
        if (this.#stopping) return this.#killAll(`a second ${signal}`, 1);
        this.#voice.log('info', 'drain-started', `${signal}: stopping`);
        this.#stop(0);
      },
      hungUp: () => {
        this.#voice.log('info', 'drain-started', 'the terminal is gone: stopping');
        this.#stop(0);
      },
      reload: () => this.#control?.say({ t: 'reload' }),
      roll: () => void this.#roll(),
      faulted: (words, isLast) => {
        this.#voice.log('error', 'guard-faulted', words);
        if (isLast) this.#stop(1);
      },
    });
  }

  /** Hubs first, so that control can note what they report; then control; then everything that is left. */
  #stop(code: number): void {
    if (this.#stopping) return;
    this.#stopping = true;
    this.#exitCode = code;
    this.#notify.stopping();
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
    this.#voice.log('warn', 'kill-all', `ending everything that is left: ${why}`);
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
    this.#voice.log('info', 'process-stopped', 'stopped');
    this.#done.resolve(code);
  }

  /** SIGUSR2: one hub after the other is replaced; each serves until its heir does. */
  async #roll(): Promise<void> {
    if (this.#rolling || this.#stopping) return;
    this.#rolling = true;
    this.#voice.log('info', 'rolling-started', `replacing ${this.#hubs.length} hubs one after the other`);
    let replaced = 0;
    for (const hub of this.#hubs) if (!this.#stopping && (await hub.replace())) replaced += 1;
    this.#rolling = false;
    const level = replaced === this.#hubs.length ? 'info' : 'error';
    this.#voice.log(level, 'rolling-ended', `${replaced} of ${this.#hubs.length} hubs are replaced`);
  }
}

const CONTROL_MS = 6000; // more than control's own budget
const SWEEP_MS = 3000;

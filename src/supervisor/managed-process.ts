/**
 * A process that the supervisor keeps running: the control process or one worker, one instance after the other.
 * An instance that exits is started again, at once or after a backoff. An instance that is replaced (on request, or
 * because of its memory) serves until its replacement is ready. Every wait for a process is bounded.
 */
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Limits } from '../config/limits.ts';
import type { ProcessMessage, SupervisorMessage } from '../model/supervisor-messages.ts';
import { frontSocketName, predecessorSocketName, socketName } from '../model/supervisor-messages.ts';
import type { ConnectionDispatcher, ConnectionTarget } from './connection-dispatcher.ts';
import { writeCrashReport } from './crash-reports.ts';
import { clearSockets, EXIT_CONFIG } from './host.ts';
import { decideLiveness } from './liveness-policy.ts';
import { type ProcessExit, ProcessInstance, type WriteLog } from './process-instance.ts';
import { MemoryLimit, RestartBackoff } from './restart-policy.ts';

export interface ManagedProcessOptions {
  readonly role: 'hub' | 'control';
  /** 1 to N for workers, 0 for the control process. */
  readonly workerId: number;
  readonly entry: string;
  /** Called for each instance, because the configuration may arrive after the first one has started. */
  readonly execArgv: () => readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly dataDir: string;
  readonly runDir: string;
  /** Prefix of the mark that all descendants of this data directory carry. */
  readonly markRoot: string;
  readonly limits: Limits;
  /** Resident memory above which a new instance is replaced, bytes. */
  readonly memoryLimitBytes: () => number;
  /** Hands connections to a worker; undefined for the control process. */
  readonly dispatcher: ConnectionDispatcher | undefined;
  readonly log: WriteLog;
  /** A new instance was started. */
  readonly onStart: () => void;
  readonly onMessage: (message: ProcessMessage) => void;
  readonly onReady: () => void;
  readonly onExit: (code: number | null) => void;
}

/** Longest boot without a heartbeat: reading the snapshot, opening the store (the control process may wait 30 s). */
const BOOT_MS = { hub: 20_000, control: 40_000 } as const;
/** A replacement that is not ready by then is killed: boot, start of its servers, and reserve. */
const REPLACEMENT_MS = 40_000;
/** The old worker takes the connection that is pending for at most this long. */
const PENDING_CONNECTION_MS = 1000;

export class ManagedProcess implements ConnectionTarget {
  readonly #options: ManagedProcessOptions;
  /** `hub-1`, `control-0`: its name in logs. */
  readonly name: string;
  readonly workerId: number;
  readonly #backoff: RestartBackoff;
  readonly #memoryLimit = new MemoryLimit();
  #current: ProcessInstance | undefined;
  /** Boots while the current instance serves. */
  #replacement: ProcessInstance | undefined;
  /** Drains after its replacement has taken over. */
  #draining: ProcessInstance | undefined;
  /** Its socket's name, given by the replacement; the next instance needs it if the replacement exits. */
  #drainingSocket: string | undefined;
  #replacing: PromiseWithResolvers<boolean> | undefined;
  #instanceCount = 0;
  #stopping = false;
  #retired = false;
  #restartTimer: NodeJS.Timeout | undefined;
  /** An instance of it has been ready once: its configuration works. */
  wasReady = false;

  constructor(options: ManagedProcessOptions) {
    this.#options = options;
    this.#backoff = new RestartBackoff(options.limits);
    this.workerId = options.workerId;
    this.name = `${options.role}-${options.workerId}`;
  }

  get pid(): number | undefined {
    return this.#current?.pid;
  }

  get isReady(): boolean {
    return this.#current?.isReady === true;
  }

  get isRunning(): boolean {
    return this.#running().length > 0;
  }

  get isOpen(): boolean {
    return this.#current?.isOpen === true;
  }

  start(): void {
    const { role, workerId, runDir } = this.#options;
    const socket = socketName(role, workerId);
    clearSockets(runDir, role === 'hub' ? [socket, frontSocketName(workerId)] : [socket]);
    this.#current = this.#create(false);
    this.#options.onStart();
  }

  /** Sends `message` to every instance: the current one, its replacement, and the one that drains. */
  send(message: SupervisorMessage): void {
    for (const instance of this.#running()) instance.send(message);
  }

  sendConnection(message: SupervisorMessage, socket: Socket, sent: (fault: Error | null) => void): void {
    if (this.#current) this.#current.sendWithSocket(message, socket, sent);
    else sent(new Error('not connected'));
  }

  kill(signal: NodeJS.Signals): void {
    for (const instance of this.#running()) instance.kill(signal);
  }

  /** Lets it run on, but does not start it again: the supervisor is stopping. */
  retire(): void {
    this.#retired = true;
    clearTimeout(this.#restartTimer);
  }

  /** Stops it for good; `kill` = at once, where there is nothing to drain. Further calls do nothing. */
  stop(how: 'drain' | 'kill' = 'drain'): void {
    if (this.#stopping) return;
    this.#stopping = true;
    clearTimeout(this.#restartTimer);
    this.#replacement?.kill('SIGKILL');
    if (this.#current && how === 'kill') this.#current.kill('SIGKILL');
    else if (this.#current) this.#current.requestExit();
    else if (!this.isRunning) this.#options.onExit(0);
  }

  /**
   * Boots a replacement beside the current instance; when it is ready, it takes over and the old one drains. Resolves
   * with false if that did not happen; the current instance continues then.
   */
  replace(): Promise<boolean> {
    if (this.#replacing) return this.#replacing.promise;
    const isReplaceable = this.#current?.isReady && this.#current.terminationReason === undefined;
    if (!isReplaceable || this.#draining || this.#stopping) return Promise.resolve(false);
    this.#replacing = Promise.withResolvers<boolean>();
    const replacement = this.#create(true);
    this.#replacement = replacement;
    this.#options.onStart();
    setTimeout(() => {
      if (this.#replacement === replacement) replacement.kill('SIGKILL');
    }, REPLACEMENT_MS).unref();
    return this.#replacing.promise;
  }

  /** Called once a second. `lateMs` = delay of the supervisor's own poll. */
  poll(lateMs: number): void {
    const instance = this.#current;
    if (!instance?.probe) return;
    if (instance.isReady) instance.probe.poll();
    if (instance.terminationReason !== undefined) return;
    const { role, limits, dispatcher } = this.#options;
    const seen = instance.probe.observe(lateMs, dispatcher?.unacknowledgedMs(this.workerId) ?? 0);
    const decision = decideLiveness(seen, limits, BOOT_MS[role]);
    // A process that is stopping anyway may be slow; one that cannot handle signals is killed even then.
    if (decision.act === 'none' || (decision.act === 'end' && this.#stopping)) return this.#checkMemory(instance);
    dispatcher?.pause(this.workerId);
    instance.terminate(decision);
  }

  /** Replaces a worker that leaks memory before the kernel or the garbage collector stops it. */
  #checkMemory(instance: ProcessInstance): void {
    const { log, memoryLimitBytes, role } = this.#options;
    if (role !== 'hub' || !instance.isReady) return;
    const limitBytes = instance.memoryLimit(memoryLimitBytes);
    if (!this.#memoryLimit.isExceeded(instance.rssBytes, limitBytes, performance.now())) return;
    const mb = (bytes: number): number => Math.round(bytes / 2 ** 20);
    const what = `${this.name} uses ${mb(instance.rssBytes)} MB of memory; its limit is ${mb(limitBytes)} MB`;
    log('error', 'memory-ceiling-reached', `${what}: starting a replacement, then draining`, { pid: instance.pid });
    void this.replace();
  }

  #running(): ProcessInstance[] {
    return [this.#current, this.#replacement, this.#draining].filter((instance) => instance !== undefined);
  }

  #create(isReplacement: boolean): ProcessInstance {
    const { role, workerId, entry, env, execArgv, dataDir, runDir, limits, log, markRoot } = this.#options;
    this.#instanceCount += 1;
    const mark = `${markRoot}${process.pid}.${this.name}.${String(this.#instanceCount).padStart(6, '0')}`;
    return new ProcessInstance({
      role,
      workerId,
      name: this.name,
      entry,
      execArgv: execArgv(),
      env,
      dataDir,
      runDir,
      mark,
      isReplacement,
      leaving: this.#drainingSocket,
      limits,
      log,
      onMessage: (instance, message) => this.#handleMessage(instance, message),
      onExit: (instance, exit) => this.#handleExit(instance, exit),
    });
  }

  #handleMessage(instance: ProcessInstance, message: ProcessMessage): void {
    const { dispatcher, onReady, onMessage } = this.#options;
    if (message.t === 'taken')
      return instance === this.#current ? dispatcher?.acknowledge(this.workerId, message.n) : undefined;
    if (message.t !== 'ready') return onMessage(message);
    instance.isReady = true;
    instance.probe?.markReady();
    if (this.#stopping) return;
    if (instance === this.#replacement) return void this.#switchTo(instance);
    if (instance !== this.#current) return;
    this.wasReady = true;
    dispatcher?.add(this);
    onReady();
  }

  async #switchTo(replacement: ProcessInstance): Promise<void> {
    const { dispatcher, limits, log } = this.#options;
    dispatcher?.pause(this.workerId);
    const untilMs = performance.now() + PENDING_CONNECTION_MS;
    while ((dispatcher?.unacknowledgedMs(this.workerId) ?? 0) > 0 && performance.now() < untilMs) await sleep(10);
    // The replacement may have exited, or the supervisor may be stopping.
    if (this.#replacement !== replacement || this.#stopping) return;
    dispatcher?.remove(this.workerId);
    const old = this.#current;
    this.#replacement = undefined;
    this.#current = replacement;
    this.wasReady = true;
    this.#memoryLimit.reset();
    dispatcher?.add(this);
    const [from, to] = [old?.pid ?? 'none', replacement.pid];
    log('info', 'process-replaced', `${this.name}: pid ${to} replaces pid ${from}`, { pid: to });
    if (old && old.terminationReason === undefined) {
      this.#draining = old;
      this.#drainingSocket = replacement.pid === undefined ? undefined : predecessorSocketName(replacement.pid);
      old.send({ t: 'leave' });
      old.killAfter(limits.killMs);
    }
    this.#finishReplacement(true);
  }

  #finishReplacement(wasReplaced: boolean): void {
    this.#replacing?.resolve(wasReplaced);
    this.#replacing = undefined;
  }

  #handleExit(instance: ProcessInstance, exit: ProcessExit): void {
    const { onExit, dispatcher, log } = this.#options;
    if (instance === this.#draining) {
      this.#draining = undefined;
      this.#drainingSocket = undefined;
      return this.#stopping ? onExit(null) : undefined;
    }
    if (instance === this.#replacement) {
      this.#replacement = undefined;
      this.#finishReplacement(false);
      if (this.#stopping) return onExit(null);
      log('error', 'replacement-failed', `the replacement of ${this.name} exited before it was ready: ${exit.how}`);
      // The current instance exited meanwhile.
      if (!this.#current) this.#restart(instance, exit);
      return;
    }
    if (instance !== this.#current) return;
    this.#current = undefined;
    dispatcher?.remove(this.workerId);
    onExit(exit.code ?? null);
    const isFatal = exit.code === EXIT_CONFIG && !this.wasReady;
    if (this.#stopping || this.#retired || isFatal) return;
    if (this.#replacement) {
      const why = instance.terminationReason ?? exit.how;
      log('error', 'process-died', `${this.name} exited: ${why}; its replacement is starting`);
    } else this.#restart(instance, exit);
  }

  /** Logs an unexpected exit, writes a crash report, and schedules the next start. */
  #restart(instance: ProcessInstance, { how, ...more }: ProcessExit): void {
    const { log, dataDir, limits } = this.#options;
    const { pid } = instance;
    const why = instance.terminationReason ?? how;
    const nowMs = performance.now();
    const restMs = this.#backoff.next(nowMs, nowMs - instance.startedMs, Math.random());
    const next = restMs > 0 ? `restarting in ${restMs} ms` : 'restarting now';
    log('error', 'process-died', `${this.name} (pid ${pid ?? 'none'}) exited: ${why}; ${next}`, { pid, restMs });
    if (this.#backoff.delays === 1) {
      const loop = `${this.name} is in a crash loop (more than ${limits.restarts} exits within a minute)`;
      log('error', 'crash-loop-found', `${loop}: restarts wait up to 30 s until it has run for a minute`);
    }
    if (instance.terminationReason === undefined) {
      const lastBeat = instance.probe?.lastHeartbeat;
      const at = new Date().toISOString();
      void writeCrashReport(dataDir, this.name, { at, process: this.name, pid, why, ...more, lastBeat });
    }
    this.#restartTimer = setTimeout(() => this.start(), restMs);
  }
}

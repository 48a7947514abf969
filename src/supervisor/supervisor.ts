/**
 * The supervisor: starts the control process and the workers, opens the port, restarts what fails, and shuts everything
 * down in order.
 */
import { createHash } from 'node:crypto';
import { realpathSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { CurrentLimits } from '../config/current-limits.ts';
import { directoryWarnings } from '../config/file-access.ts';
import { HUB_LIMITS, LIMITS, type Limits, limitsFrom, withFormerNames } from '../config/limits.ts';
import { memoryShare } from '../config/memory-share.ts';
import { CONTROL_FLAGS, type ProcessMessage, WORKER_FLAGS } from '../model/supervisor-messages.ts';
import { WorkerToken } from '../model/worker-token.ts';
import { sweepMarked } from '../runtime/sweep.ts';
import { availableConnections, ConnectionDispatcher } from './connection-dispatcher.ts';
import { unreportedCrashes } from './crash-reports.ts';
import { EXIT_CONFIG, FatalStartError, handleSystemSignals, lockDataDir, prepareRunDir } from './host.ts';
import { ManagedProcess } from './managed-process.ts';
import { SupervisorLog } from './supervisor-log.ts';
import { processEnvironment, type SupervisorOptions } from './supervisor-options.ts';
import { SystemdNotifier } from './systemd-notify.ts';

const POLL_MS = 1000;
/** Exits of the control process, before it has read the configuration, after which the start fails. */
const MAX_EARLY_EXITS = 3;
/** More than the control process's own budget. */
const CONTROL_STOP_MS = 6000;
const SWEEP_MS = 3000;

/** Runs until it is asked to stop; resolves with the exit code. */
export const runSupervisor = (options: SupervisorOptions): Promise<number> => new Supervisor(options).run();

class Supervisor {
  readonly #options: SupervisorOptions;
  /** Before the control process has read the configuration: what environment and flags say. */
  readonly #currentLimits: CurrentLimits;
  readonly #limits: Limits;
  readonly #dispatcher: ConnectionDispatcher;
  readonly #done = Promise.withResolvers<number>();
  #workers: ManagedProcess[] = []; // bounded by: limits.workers
  #control: ManagedProcess | undefined;
  readonly #log: SupervisorLog;
  #lock: { release(): void } | undefined;
  #markRoot = '';
  #opening: Promise<void> | undefined;
  #isOpen = false;
  #earlyExits = 0;
  #isStopping = false;
  #polledMs = performance.now();
  #exitCode = 0;
  #isFinishing = false;
  #isReplacing = false;
  readonly #notify: SystemdNotifier;
  readonly #workerToken = new WorkerToken();

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#currentLimits = new CurrentLimits(options.limits, { keeps: HUB_LIMITS, isProvisional: true });
    this.#limits = this.#currentLimits.limits;
    this.#dispatcher = new ConnectionDispatcher(this.#limits, availableConnections(LIMITS.connections.max), (times) =>
      this.#reportRefused(times),
    );
    this.#log = new SupervisorLog({ ...options, limits: this.#limits });
    this.#notify = new SystemdNotifier(options.env, (why) =>
      this.#log.write('warn', 'notify-failed', `cannot notify systemd: ${why}`),
    );
  }

  #reportRefused(times: number): void {
    const what = `refused ${times} connections with 503: no worker accepted them in time`;
    this.#log.write('warn', 'request-refused', what, { code: 'starting', times });
  }

  async run(): Promise<number> {
    let code: number;
    try {
      await this.#start();
      code = await this.#done.promise;
    } catch (fault) {
      this.#lock?.release();
      if (!(fault instanceof FatalStartError)) throw fault;
      this.#log.print(2, fault.lines);
      code = EXIT_CONFIG;
    }
    await this.#log.flush();
    return code;
  }

  async #start(): Promise<void> {
    const { dataDir, runDir } = this.#options;
    this.#installSignalHandlers();
    const lock = lockDataDir(dataDir);
    this.#lock = lock;
    prepareRunDir(runDir);
    this.#markRoot = `${createHash('sha256').update(realpathSync(dataDir)).digest('hex').slice(0, 12)}.`;
    // A supervisor that shuts down ends its processes itself.
    const pids = lock.wasStale ? await sweepMarked(this.#markRoot) : [];
    if (pids.length > 0)
      this.#log.write('warn', 'children-swept', `ended ${pids.length} processes of an earlier run`, { pids });
    for (const sentence of unreportedCrashes(dataDir))
      this.#log.write('warn', 'earlier-death', `previous run: ${sentence}`);
    for (const text of directoryWarnings(dataDir)) this.#log.write('warn', 'data-dir-writable', text);
    if (this.#isStopping) return;
    this.#control = this.#createProcess('control', 0);
    this.#control.start();
    this.#addWorker();
    setInterval(() => this.#poll(), POLL_MS);
  }

  #addWorker(): void {
    const worker = this.#createProcess('hub', this.#workers.length + 1);
    this.#workers.push(worker);
    worker.start();
  }

  /** The configuration is valid: opens the port, and lets all processes begin what leaves traces. */
  async #open({ lines }: ProcessMessage & { t: 'configured' }): Promise<void> {
    this.#log.print(2, lines);
    const { host } = this.#options;
    try {
      await this.#dispatcher.listen(this.#limits.port, host);
    } catch (fault) {
      if (!(fault instanceof FatalStartError)) throw fault;
      return this.#failStart(fault.lines);
    }
    if (this.#isStopping) return;
    this.#isOpen = true;
    for (const managed of this.#processes()) this.#sendGo(managed);
    const { port } = this.#dispatcher;
    const { workers } = this.#limits;
    while (this.#workers.length < workers) this.#addWorker();
    const more = { port, host: host ?? 'loopback', hubs: workers, pid: process.pid };
    this.#log.write('info', 'listening-started', `listening on port ${port}`, more);
  }

  #sendGo(managed: ManagedProcess): void {
    if (!this.#isOpen) return;
    const { port, workers } = this.#limits;
    const limits = withFormerNames({ ...this.#currentLimits.configured, port, workers });
    managed.send({ t: 'go', port: this.#dispatcher.port, limits });
  }

  #createProcess(role: 'hub' | 'control', workerId: number): ManagedProcess {
    const { entry, dataDir, runDir } = this.#options;
    const managed: ManagedProcess = new ManagedProcess({
      role,
      workerId,
      entry,
      execArgv: () =>
        role === 'hub' ? [...WORKER_FLAGS, `--max-old-space-size=${memoryShare(this.#limits).heapMb}`] : CONTROL_FLAGS,
      memoryLimitBytes: () => memoryShare(this.#limits).ceilingBytes,
      env: processEnvironment(this.#options),
      dataDir,
      runDir,
      markRoot: this.#markRoot,
      limits: this.#limits,
      dispatcher: role === 'hub' ? this.#dispatcher : undefined,
      log: (level, event, msg, more) => this.#log.write(level, event, msg, more),
      onStart: () => {
        this.#workerToken.handOut(role, managed, this.#workers);
        this.#sendGo(managed);
      },
      onMessage: (message) => this.#handleMessage(managed, message),
      onReady: () => {
        if (role === 'control') for (const worker of this.#workers) worker.send({ t: 'control-ready' });
        else if (this.#isOpen) this.#notify.ready(`serving on port ${this.#dispatcher.port}`);
      },
      onExit: (code) => this.#handleExit(managed, role, code),
    });
    return managed;
  }

  #handleMessage(managed: ManagedProcess, message: ProcessMessage): void {
    if (message.t === 'tell') this.#log.print(1, message.lines);
    else if (message.t === 'configured') {
      this.#currentLimits.adopt(limitsFrom(message.limits));
      this.#opening ??= this.#open(message);
    } else if (message.t !== 'hopeless') return;
    // A configuration that became invalid later: the workers go on with the snapshot that they have.
    else if (managed.wasReady)
      this.#log.write('error', 'restart-hopeless', `${managed.name} cannot start: ${message.lines.join('; ')}`);
    else this.#failStart(message.lines);
  }

  #failStart(lines: readonly string[]): void {
    this.#log.print(2, lines);
    this.#stop(EXIT_CONFIG);
  }

  #handleExit(managed: ManagedProcess, role: 'hub' | 'control', code: number | null): void {
    if (this.#isStopping) return this.#finishIfEmpty();
    if (code === EXIT_CONFIG && !managed.wasReady) return this.#stop(EXIT_CONFIG);
    if (role === 'hub' || this.#isOpen) return;
    this.#earlyExits += 1;
    if (this.#earlyExits < MAX_EARLY_EXITS) return;
    this.#log.print(2, [
      `Not started: the control process exited ${MAX_EARLY_EXITS} times before it had read the configuration.`,
    ]);
    this.#stop(1);
  }

  #poll(): void {
    const lateMs = performance.now() - this.#polledMs - POLL_MS;
    this.#polledMs += lateMs + POLL_MS;
    for (const managed of this.#processes()) managed.poll(lateMs);
    this.#notify.pingWatchdog(this.#polledMs);
  }

  #processes(): ManagedProcess[] {
    return this.#control ? [...this.#workers, this.#control] : this.#workers;
  }

  #installSignalHandlers(): void {
    handleSystemSignals({
      stop: (signal) => {
        if (this.#isStopping) return this.#killAll(`second ${signal}`, 1);
        this.#log.write('info', 'drain-started', `${signal}: stopping`);
        this.#stop(0);
      },
      terminalClosed: () => {
        this.#log.write('info', 'drain-started', 'the terminal was closed: stopping');
        this.#stop(0);
      },
      reload: () => this.#control?.send({ t: 'reload' }),
      replaceWorkers: () => void this.#replaceWorkers(),
      fault: (text, isLast) => {
        this.#log.write('error', 'guard-faulted', text);
        if (isLast) this.#stop(1);
      },
    });
  }

  /**
   * Stops the workers first, so that the control process stores what they report; then the control process; then
   * whatever is left.
   */
  #stop(code: number): void {
    if (this.#isStopping) return;
    this.#isStopping = true;
    this.#exitCode = code;
    this.#notify.stopping();
    const { balancerMs, killMs } = this.#limits;
    if (this.#options.terminal || code !== 0) this.#dispatcher.close();
    else setTimeout(() => this.#dispatcher.close(), balancerMs).unref();
    setTimeout(() => this.#killAll('the stop timeout has passed', code), killMs);
    // A signal to the whole process group ends the control process early; it is not started again.
    this.#control?.retire();
    for (const worker of this.#workers) worker.stop(this.#isOpen ? 'drain' : 'kill');
    this.#finishIfEmpty();
  }

  #finishIfEmpty(): void {
    if (this.#workers.some((worker) => worker.isRunning)) return;
    this.#dispatcher.close();
    const control = this.#control;
    if (!control?.isRunning) return void this.#finish(this.#exitCode);
    control.stop();
    setTimeout(() => control.kill('SIGKILL'), CONTROL_STOP_MS).unref();
  }

  #killAll(why: string, code: number): void {
    this.#log.write('warn', 'kill-all', `killing all remaining processes: ${why}`);
    for (const managed of this.#processes()) managed.kill('SIGKILL');
    void this.#finish(code);
  }

  async #finish(code: number): Promise<void> {
    if (this.#isFinishing) return;
    this.#isFinishing = true;
    this.#dispatcher.close();
    // Reading another process's environment can block in the kernel.
    await Promise.race([sweepMarked(this.#markRoot), sleep(SWEEP_MS)]);
    try {
      prepareRunDir(this.#options.runDir);
    } catch {
      // The next start cleans up.
    }
    this.#lock?.release();
    this.#log.write('info', 'process-stopped', 'stopped');
    this.#done.resolve(code);
  }

  /** Replaces the workers one at a time; each serves until its replacement is ready. */
  async #replaceWorkers(): Promise<void> {
    if (this.#isReplacing || this.#isStopping) return;
    this.#isReplacing = true;
    this.#log.write('info', 'rolling-started', `replacing ${this.#workers.length} workers one at a time`);
    let replaced = 0;
    for (const worker of this.#workers) if (!this.#isStopping && (await worker.replace())) replaced += 1;
    this.#isReplacing = false;
    const level = replaced === this.#workers.length ? 'info' : 'error';
    this.#log.write(level, 'rolling-ended', `replaced ${replaced} of ${this.#workers.length} workers`);
  }
}

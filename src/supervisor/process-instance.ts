/**
 * One operating-system process from its start to its exit: its IPC channel, its probe, its termination with a crash
 * report. Before a kill the crash report is written, or 300 ms have passed. After the exit its descendants are ended,
 * and its last messages are delivered before the exit is reported. `managed-process.ts` decides what follows;
 * `liveness-policy.ts` when to terminate.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import type { Limits } from '../config/limits.ts';
import {
  DESCENDANT_MARK,
  loopSocketName,
  PROCESS_ENV,
  type ProcessMessage,
  type SupervisorMessage,
  socketName,
} from '../model/supervisor-messages.ts';
import { readProcessStat } from '../runtime/process-stat.ts';
import { sweepMarked } from '../runtime/sweep.ts';
import { readBlockingStack, writeCrashReport } from './crash-reports.ts';
import { clearSockets } from './host.ts';
import type { LivenessDecision } from './liveness-policy.ts';
import { readKernelFunction } from './proc.ts';
import { ProcessProbe } from './process-probe.ts';

export type WriteLog = (level: 'info' | 'warn' | 'error', event: string, msg: string, more?: object) => void;

/**
 * Makes glibc return large buffers to the system when they are freed. By default it raises that threshold to the size
 * of what was freed last (up to 32 MB), after which such buffers leave holes, and it gives each thread an arena of its
 * own. Two soaks of eight minutes side by side: 42 and 26 MB more resident memory at the end without these settings,
 * with the same heap. Variables that are set already win.
 */
const ALLOCATOR_ENV = {
  MALLOC_ARENA_MAX: '2',
  MALLOC_MMAP_THRESHOLD_: '131072',
  MALLOC_TRIM_THRESHOLD_: '131072',
} as const;

export interface ProcessInstanceOptions {
  readonly role: 'hub' | 'control';
  readonly workerId: number;
  /** `hub-1`: its name in logs. */
  readonly name: string;
  readonly entry: string;
  readonly execArgv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly dataDir: string;
  readonly runDir: string;
  /** Unique; all its descendants carry it in their environment. */
  readonly mark: string;
  /** It replaces an instance that still serves: it reports `ready` when its servers have started. */
  readonly isReplacement: boolean;
  /** Socket name of an earlier instance that still drains; undefined = there is none. */
  readonly leaving: string | undefined;
  readonly limits: Limits;
  readonly log: WriteLog;
  readonly onMessage: (instance: ProcessInstance, message: ProcessMessage) => void;
  /** Called once, also if the process could not be started. */
  readonly onExit: (instance: ProcessInstance, exit: ProcessExit) => void;
}

export interface ProcessExit {
  readonly how: string;
  readonly code?: number | null;
  readonly signal?: string | null;
}

/** Time to collect the crash report before a kill. */
const REPORT_MS = 300;
/** Grace period of a process that sends heartbeats but does no work. */
const EXIT_GRACE_MS = 5000;
/** The channel of a process that exited is read for at most this long. */
const LAST_MESSAGES_MS = 100;

export class ProcessInstance {
  readonly #options: ProcessInstanceOptions;
  readonly #child: ChildProcess | undefined;
  readonly probe: ProcessProbe | undefined;
  readonly startedMs = performance.now();
  /** Why it is being terminated; undefined = it is not. */
  terminationReason: string | undefined;
  isReady = false;
  #memoryLimitBytes: number | undefined;
  #hasExited = false;

  /** Returns its memory limit in bytes: that of the first call, because its heap limit does not change either. */
  memoryLimit(current: () => number): number {
    this.#memoryLimitBytes ??= current();
    return this.#memoryLimitBytes;
  }

  constructor(options: ProcessInstanceOptions) {
    this.#options = options;
    const { role, workerId, entry, env, execArgv, mark, runDir, limits, isReplacement, leaving } = options;
    let child: ChildProcess;
    try {
      child = spawn(process.execPath, [...execArgv, entry], {
        stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
        env: {
          ...ALLOCATOR_ENV,
          ...env,
          [PROCESS_ENV.role]: role,
          [PROCESS_ENV.slot]: String(workerId),
          [DESCENDANT_MARK]: mark,
          ...(isReplacement ? { [PROCESS_ENV.replacement]: '1' } : {}),
          ...(leaving === undefined ? {} : { [PROCESS_ENV.leaving]: leaving }),
        },
      });
    } catch (fault) {
      this.#child = undefined;
      this.probe = undefined;
      queueMicrotask(() => this.#finish({ how: `cannot be started: ${(fault as Error).message}` }));
      return;
    }
    this.#child = child;
    if (child.pid !== undefined)
      this.probe = new ProcessProbe(child.pid, {
        socketPath: join(runDir, socketName(role, workerId)),
        loopSocketPath: join(runDir, loopSocketName(child.pid)),
        limits,
      });
    child.on('message', (message: ProcessMessage) => {
      if (!this.#hasExited) options.onMessage(this, message);
    });
    child.on('error', (fault) => {
      // Not started: no exit event follows. (The error of a running process is a signal that could not be sent.)
      if (child.pid === undefined) this.#finish({ how: `cannot be started: ${fault.message}` });
    });
    child.once('exit', (code, signal) =>
      afterLastMessages(child, () => this.#finish({ how: signal ?? `exit code ${code}`, code, signal })),
    );
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Its IPC channel is open. */
  get isOpen(): boolean {
    return this.#child?.connected === true;
  }

  get rssBytes(): number {
    return this.pid === undefined ? 0 : (readProcessStat(this.pid)?.rssBytes ?? 0);
  }

  send(message: SupervisorMessage): void {
    this.sendWithSocket(message, undefined, () => {});
  }

  sendWithSocket(message: SupervisorMessage, socket: Socket | undefined, sent: (fault: Error | null) => void): void {
    if (!this.#child?.connected) return sent(new Error('not connected'));
    // keepOpen: this process closes its copy when the worker acknowledges the connection.
    this.#child.send(message, socket, { keepOpen: true }, sent);
  }

  kill(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }

  /**
   * Asks it to drain and exit. By a signal, because the channel may be full and both would be two requests; Windows has
   * no such signals.
   */
  requestExit(): void {
    if (process.platform === 'win32') this.send({ t: 'drain' });
    else this.kill('SIGTERM');
  }

  killAfter(ms: number): void {
    setTimeout(() => {
      if (!this.#hasExited) this.kill('SIGKILL');
    }, ms).unref();
  }

  /** Writes a crash report, then kills it or asks it to exit. */
  terminate({ act, why }: Exclude<LivenessDecision, { act: 'none' }>): void {
    this.terminationReason = why;
    const pid = this.pid ?? -1;
    void Promise.race([this.#writeReport(pid, why), later(REPORT_MS)]).then((evidence) => {
      if (this.#hasExited) return;
      const what = `${act === 'kill' ? 'killing' : 'stopping'} ${this.#options.name} (pid ${pid}): ${why}`;
      this.#options.log('error', 'process-condemned', what, { evidence, pid });
      if (act === 'kill') return this.kill('SIGKILL');
      this.requestExit();
      this.killAfter(EXIT_GRACE_MS);
    });
  }

  /** The names of the members are those of crash reports of earlier versions. */
  async #writeReport(pid: number, why: string): Promise<string | undefined> {
    const { dataDir, runDir, name } = this.#options;
    const stack = await readBlockingStack(runDir, name, pid);
    return writeCrashReport(dataDir, name, {
      at: new Date().toISOString(),
      process: name,
      pid,
      why,
      facts: readProcessStat(pid),
      sleepsIn: readKernelFunction(pid),
      lastBeat: this.probe?.lastHeartbeat,
      sinceBeatMs: Math.round(this.probe?.sinceHeartbeatMs ?? 0),
      guiltyStack: stack?.split('\n'),
    });
  }

  #finish(exit: ProcessExit): void {
    if (this.#hasExited) return;
    this.#hasExited = true;
    this.isReady = false;
    this.probe?.close();
    const { mark, name, log, onExit, runDir } = this.#options;
    if (this.pid !== undefined) clearSockets(runDir, [loopSocketName(this.pid)]);
    void sweepMarked(mark).then((pids) => {
      if (pids.length > 0) log('warn', 'children-swept', `ended ${pids.length} processes that ${name} left`, { pids });
    });
    onExit(this, exit);
  }
}

/**
 * The last messages (`taken`) may still be in the channel; a connection that was taken must not be handed out again.
 */
function afterLastMessages(child: ChildProcess, then: () => void): void {
  if (!child.connected) return then();
  const timer = setTimeout(finish, LAST_MESSAGES_MS);
  child.once('disconnect', finish);
  function finish(): void {
    clearTimeout(timer);
    child.off('disconnect', finish);
    then();
  }
}

function later(ms: number): Promise<undefined> {
  return new Promise((resolve) => setTimeout(() => resolve(undefined), ms).unref());
}

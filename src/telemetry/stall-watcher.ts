/**
 * Watches the main loop from a separate thread, and records the blocking stack when the loop stalls. The thread also
 * answers on a unix socket how long ago the loop advanced, which distinguishes late timers from a blocked loop.
 * Disabled under a debugger and with MCPHUB_STALL_WITNESS=0. A process blocked in the kernel has no stack to record.
 * Guarantees: the stack of a stall of a second or more is in `<runDir>/stall-<role>-<slot>.txt` while it lasts, so the
 * supervisor can read it before it kills the process (measured: 25–35 ms after the request); a loop that recovers
 * publishes `loop-stalled`; the thread does not keep the process alive; without a supervisor, a process that stalls for
 * `ORPHAN_MS` is ended.
 */
import { url as debuggerUrl } from 'node:inspector';
import { extname, join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { loopSocketName } from '../model/supervisor-messages.ts';
import type { Runtime } from '../runtime/runtime.ts';

export interface StallWatcherOptions {
  readonly runtime: Runtime;
  readonly role: string;
  readonly slot: number;
  readonly runDir: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly execArgv: readonly string[];
}

/** Options of the thread. */
export interface StallWatcherOrders {
  readonly cells: SharedArrayBuffer;
  readonly file: string;
  /** Unix socket on which the thread answers the supervisor. */
  readonly socketPath: string;
  readonly beatMs: number;
  readonly stallMs: number;
  /** Parent of this process while its supervisor lives. */
  readonly supervisorPid: number;
  /** A stall of this length in ms without a supervisor ends the process. */
  readonly orphanMs: number;
}

/** What the thread reports when the loop runs again. */
export interface Stall {
  readonly ms: number;
  readonly stack: string;
}

/**
 * Cells shared by both threads: the heartbeat count, the stop flag, and the number of questions that the loop has
 * answered.
 */
export const BEAT_CELL = 0;
export const STOP_CELL = 1;
export const ADVANCE_CELL = 2;
/**
 * The thread's question whether the loop reaches its next event. It is answered among other input, so it needs no
 * timer.
 */
export const ADVANCE_QUESTION = 'advance';

const BEAT_MS = 100;
const STALL_MS = 1000;
/** Longer than the supervisor's own limit before it kills (3 s), because the supervisor has more information. */
const ORPHAN_MS = 5000;
/** Delay in ms before the thread starts, so that it does not slow down the start of the process. */
const BIRTH_MS = 1000;
/** Thread name in `ps -L` and /proc. */
const THREAD = 'stall-witness';
const STACK_CHARS = 4000;
/** The smallest heap in which the thread runs. */
const RESOURCES = { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 2, stackSizeMb: 1 } as const;

export class StallWatcher {
  readonly #options: StallWatcherOptions;
  readonly #cells = new SharedArrayBuffer(12);
  readonly #view: Int32Array = new Int32Array(this.#cells);
  #timers: readonly Disposable[] = []; // bounded by: two timers

  constructor(options: StallWatcherOptions) {
    this.#options = options;
  }

  start(): void {
    const { runtime, env, execArgv } = this.#options;
    if (this.#timers.length > 0 || env.MCPHUB_STALL_WITNESS === '0' || isDebugged(execArgv)) return;
    Atomics.store(this.#view, STOP_CELL, 0);
    this.#timers = [
      runtime.timers.every(BEAT_MS, () => void Atomics.add(this.#view, BEAT_CELL, 1)),
      runtime.timers.after(BIRTH_MS, () => this.#born()),
    ];
  }

  /** Returns at once: the thread sees the flag at its next check and ends by itself, or with the process. */
  stop(): void {
    for (const timer of this.#timers) timer[Symbol.dispose]();
    this.#timers = [];
    Atomics.store(this.#view, STOP_CELL, 1);
  }

  #born(): void {
    const { runtime, role, slot, runDir } = this.#options;
    const orders: StallWatcherOrders = {
      cells: this.#cells,
      file: join(runDir, `stall-${role}-${slot}.txt`),
      socketPath: join(runDir, loopSocketName(process.pid)),
      beatMs: BEAT_MS,
      stallMs: STALL_MS,
      supervisorPid: process.ppid,
      orphanMs: ORPHAN_MS,
    };
    const faulted = (fault: unknown): void =>
      // Without the watcher a stall is still detected and ended; only its stack is missing.
      runtime.bus.publish({ type: 'task-faulted', task: 'stall witness', fault });
    try {
      const file = new URL(`./stall-watcher-thread${extname(import.meta.filename)}`, import.meta.url);
      const worker = new Worker(file, {
        name: THREAD,
        workerData: orders,
        resourceLimits: RESOURCES,
        execArgv: [],
        env: {},
        // Otherwise Node opens process.stdout for the thread, beside the sink.
        stdout: true,
        stderr: true,
      });
      worker.unref();
      worker.on('error', faulted);
      worker.on('message', (word: Stall | typeof ADVANCE_QUESTION) => {
        if (word === ADVANCE_QUESTION) Atomics.add(this.#view, ADVANCE_CELL, 1);
        else runtime.bus.publish({ type: 'loop-stalled', ms: word.ms, stack: word.stack.slice(0, STACK_CHARS) });
      });
    } catch (fault) {
      faulted(fault);
    }
  }
}

/** A debugger stalls the loop on purpose at breakpoints. */
function isDebugged(execArgv: readonly string[]): boolean {
  return debuggerUrl() !== undefined || execArgv.some((flag) => flag.startsWith('--inspect'));
}

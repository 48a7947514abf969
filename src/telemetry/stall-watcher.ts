/**
 * Watches from a thread of its own whether the main loop turns, and writes down the stack that holds it when it does not.
 * Promises: the stack of a stall of a second or more is in `<runDir>/stall-<role>-<slot>.txt` while the stall lasts, so that the supervisor finds
 * it before it kills; a loop that comes back states the fact `loop-stalled`; nothing here keeps the process alive; where the supervisor is gone, so
 * that nobody else can, a process that has stalled for `ORPHAN_MS` is ended.
 * The thread also answers on a unix socket how long ago the loop advanced: timers that are late and a loop that is stuck are two things.
 * Does not: end anything else; run when a debugger is attached or MCPHUB_STALL_WITNESS=0. A process stuck in the kernel has no stack to give.
 * Source: measured: the guilty stack 25–35 ms after asking, in a busy loop and in a backtracking regular expression.
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

/** What the thread is given. */
export interface StallWatcherOrders {
  readonly cells: SharedArrayBuffer;
  readonly file: string;
  /** Unix socket on which the thread answers the supervisor. */
  readonly socketPath: string;
  readonly beatMs: number;
  readonly stallMs: number;
  /** Whose child this process is as long as its supervisor lives. */
  readonly guardPid: number;
  /** A stall of this length without a supervisor is the end. */
  readonly orphanMs: number;
}

/** What the thread says when the loop turns again. */
export interface Stall {
  readonly ms: number;
  readonly stack: string;
}

/** Cells that both threads see: a count that moves, the word to end, and how many of the thread's questions the loop has answered. */
export const BEAT_CELL = 0;
export const STOP_CELL = 1;
export const ADVANCE_CELL = 2;
/** The thread's question: has the loop reached its next event? It is answered among other input, so it needs no timer. */
export const ADVANCE_QUESTION = 'advance';

const BEAT_MS = 100;
const STALL_MS = 1000;
/** Longer than what the supervisor waits before it kills (3 s), for it has the better judgement. */
const ORPHAN_MS = 5000;
/** The thread is born when the process has started: that must not slow down. */
const BIRTH_MS = 1000;
/** Seen in `ps -L` and /proc. */
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

  /** Waits for nothing: the thread sees the word at its next look and ends by itself, or with the process. */
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
      guardPid: process.ppid,
      orphanMs: ORPHAN_MS,
    };
    const faulted = (fault: unknown): void =>
      // Without a witness a stall is still found and ended; only its stack is missing.
      runtime.bus.publish({ type: 'task-faulted', task: 'stall witness', fault });
    try {
      const file = new URL(`./stall-watcher-thread${extname(import.meta.filename)}`, import.meta.url);
      const worker = new Worker(file, {
        name: THREAD,
        workerData: orders,
        resourceLimits: RESOURCES,
        execArgv: [],
        env: {},
        // Otherwise the runtime opens process.stdout for the thread, beside the sink and in its own way.
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

/** A person who stands at a breakpoint stalls the loop on purpose. */
function isDebugged(execArgv: readonly string[]): boolean {
  return debuggerUrl() !== undefined || execArgv.some((flag) => flag.startsWith('--inspect'));
}

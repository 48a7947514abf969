/**
 * One child process from spawn to the last member of its group: drains its pipes, notices its exit, ends descendants.
 * Guarantees: its end is the `exit` event, so that a grandchild with the pipes delays nothing; output is handed on for
 * at most 100 ms before `exited`; then the group is killed and marked descendants are swept; `stop` ends by its
 * deadline.
 */
import type { ChildProcess } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import type { Limits } from '../../config/limits.ts';
import type { Deadline } from '../../runtime/deadline.ts';
import { errorLines } from '../io/error-lines.ts';
import { StderrBuffer } from '../io/stderr-buffer.ts';
import { GroupCpu } from '../proc/cpu.ts';
import { type ContainerPlan, endContainers } from '../terminate/containers.ts';
import { sweepMarked } from '../terminate/sweep.ts';
import { type GroupPlan, killGroup, spawnGroup, untilDrained } from './group.ts';

export interface ChildPlan extends GroupPlan {
  readonly limits: Limits;
  /** Unique mark of this child in the environment of its descendants. */
  readonly mark: string;
  /** `frames`: the owner reads stdout; `text`: it is drained like stderr. */
  readonly stdout: 'frames' | 'text';
  /** The program is the client of a container. */
  readonly container?: ContainerPlan | undefined;
}

export interface ChildExit {
  readonly code: number | null;
  readonly signal: string | null;
}

export interface ChildEvents {
  said(line: string): void;
  alive(): void;
  /** It has exited and its output has been handed on. Called once. */
  exited(exit: ChildExit): void;
}

const SWEEP_MS = 5000;
/** Part of the time to stop that is reserved for the kill and the sweep, ms. */
const LAST_MS = 1000;
/** The same when a container may have to be ended as well, ms. */
const LAST_CONTAINER_MS = 2500;
/** Exit code of `docker run` for its own failures or the daemon's; other codes are the container's, which has ended. */
const TOOL_FAULT = 125;
const TAIL_LINES = 5;

export class Child {
  readonly pid: number;
  readonly #plan: ChildPlan;
  readonly #process: ChildProcess;
  readonly #events: ChildEvents;
  readonly #said: StderrBuffer;
  readonly #cpu: GroupCpu;
  readonly #gone: Promise<void>;
  #exit: ChildExit | undefined;
  #stopping: Promise<void> | undefined;

  constructor(plan: ChildPlan, process: ChildProcess, events: ChildEvents) {
    this.#plan = plan;
    this.#process = process;
    this.#events = events;
    this.pid = process.pid ?? -1;
    this.#said = new StderrBuffer(plan.runtime, plan.limits, events);
    if (process.stderr) this.#said.drain(process.stderr);
    if (process.stdout && plan.stdout === 'text') this.#said.drain(process.stdout);
    this.#cpu = new GroupCpu(plan.runtime, this.pid, plan.owner);
    this.#gone = new Promise((resolve) => {
      if (process.exitCode !== null || process.signalCode !== null)
        resolve(this.#died(process.exitCode, process.signalCode));
      else process.once('exit', (code, signal) => resolve(this.#died(code, signal)));
    });
    plan.runtime.bus.publish({ type: 'child-started', server: plan.owner, pid: this.pid });
  }

  get stdin(): Writable | null {
    return this.#process.stdin;
  }

  get stdout(): Readable | null {
    return this.#process.stdout;
  }

  /** How it ended; undefined while it runs. */
  get exit(): ChildExit | undefined {
    return this.#exit;
  }

  cpuMs(): number | undefined {
    return this.#cpu.cpuMs();
  }

  /** When the value of `cpuMs` was read, monotonic ms. */
  cpuReadMs(): number | undefined {
    return this.#cpu.readMs;
  }

  /** Last lines of stderr, oldest first. */
  tail(): string[] {
    return this.#said.lines();
  }

  /** The most informative of them, as one text for an error message. */
  lastWords(): string {
    return errorLines(this.tail(), TAIL_LINES).join('\n').slice(-1000);
  }

  /** Signals the group; does nothing after its leader has exited, because the pid may be reused. */
  kill(signal: NodeJS.Signals): void {
    if (this.#exit === undefined) killGroup(this.pid, signal);
  }

  /**
   * End of input → SIGTERM → SIGKILL of the group, `childTermMs` each, then the sweep. Idempotent; ends by the
   * deadline. `endInput` lets the owner write waiting data first.
   */
  async stop(endInput: () => void, deadline: Deadline): Promise<void> {
    this.#stopping ??= this.#end(endInput, deadline);
    try {
      await this.#plan.runtime.waits.for(this.#stopping, { label: 'upstream-stop', owner: this.#plan.owner, deadline });
    } catch {
      this.kill('SIGKILL'); // out of time; descendants outside the group are swept without a wait
      this.#sweepLater();
    }
  }

  async #end(endInput: () => void, deadline: Deadline): Promise<void> {
    const lastMs = this.#plan.container ? LAST_CONTAINER_MS : LAST_MS;
    const stepMs = Math.min(this.#plan.limits.childTermMs, Math.max(0, (deadline.remainingMs() - lastMs) / 2));
    endInput();
    if (!(await this.#goneWithin(stepMs, deadline))) {
      this.kill('SIGTERM');
      if (!(await this.#goneWithin(stepMs, deadline))) {
        this.kill('SIGKILL');
        await this.#goneWithin(LAST_MS, deadline);
      }
    }
    await this.#sweep(deadline);
  }

  async #goneWithin(ms: number, deadline: Deadline): Promise<boolean> {
    if (this.#exit !== undefined) return true;
    using step = deadline.sooner(ms);
    await new Promise<void>((resolve) => {
      const forget = step.onEnd(() => resolve());
      void this.#gone.then(() => {
        forget();
        resolve();
      });
    });
    return this.#exit !== undefined;
  }

  async #died(code: number | null, signal: string | null): Promise<void> {
    killGroup(this.pid, 'SIGKILL');
    this.#exit = { code, signal };
    this.#cpu[Symbol.dispose]();
    await untilDrained(this.#process, this.#plan.runtime);
    this.#said.close();
    for (const stream of [this.#process.stdin, this.#process.stdout, this.#process.stderr]) stream?.destroy();
    const { runtime, owner } = this.#plan;
    const exit = { code, signal };
    runtime.bus.publish({ type: 'child-exited', server: owner, pid: this.pid, ...exit, stderrTail: this.lastWords() });
    if (this.#stopping === undefined) this.#sweepLater();
    try {
      this.#events.exited(exit);
    } catch (fault) {
      runtime.bus.publish({ type: 'task-faulted', task: `exit of ${owner}`, fault });
    }
  }

  #sweepLater(): void {
    const { runtime, owner } = this.#plan;
    runtime.scope.run(`sweep after ${owner}`, async () => {
      using deadline = runtime.deadline(SWEEP_MS);
      await this.#sweep(deadline);
    });
  }

  async #sweep(deadline: Deadline): Promise<void> {
    const { runtime, mark, container } = this.#plan;
    const pids = await sweepMarked(mark, deadline);
    if (pids.length > 0) runtime.bus.publish({ type: 'children-swept', pids });
    const { code = null } = this.#exit ?? {};
    const hasEnded = code !== null && code !== TOOL_FAULT;
    if (container && !hasEnded) await endContainers(this.#plan, container, deadline);
  }
}

/** Starts it. Throws HubError `upstream-spawn`. */
export async function startChild(plan: ChildPlan, events: ChildEvents, deadline: Deadline): Promise<Child> {
  return new Child(plan, await spawnGroup(plan, deadline), events);
}

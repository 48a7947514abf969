/**
 * Background work with an owner: every task belongs to a scope, and closing the scope ends it.
 * Guarantees: `close` aborts all tasks, waits at most `graceMs`, reports by name the tasks that did not stop, and is
 * idempotent; a fault in a task is reported. A scope does not restart tasks: one that must go on loops with
 * `backoff.ts`.
 */
import type { Deadline } from './deadline.ts';

export interface ScopeReport {
  /** Called when a task failed for a reason other than the end of its scope. */
  faulted(task: string, fault: unknown): void;
  /** Called when a task did not stop within the grace period. */
  stuck(task: string): void;
}

export class Scope {
  readonly name: string;
  readonly #report: ScopeReport;
  readonly #controller = new AbortController();
  // bounded by: the owners of background work; each task leaves when it ends
  readonly #tasks = new Map<Promise<void>, string>();

  constructor(name: string, report: ScopeReport) {
    this.name = name;
    this.#report = report;
  }

  get closed(): boolean {
    return this.#controller.signal.aborted;
  }

  /** Aborted when the scope closes. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Names of the tasks that are still running. */
  get running(): string[] {
    return [...this.#tasks.values()];
  }

  /** Runs `work` in the background until it ends or the scope closes. Does nothing in a closed scope. */
  run(task: string, work: (signal: AbortSignal) => Promise<void>): void {
    if (this.closed) return;
    const promise = Promise.resolve()
      .then(() => work(this.#controller.signal))
      .catch((fault: unknown) => {
        if (!this.closed) this.#report.faulted(`${this.name}/${task}`, fault);
      })
      .finally(() => {
        this.#tasks.delete(promise);
      });
    this.#tasks.set(promise, task);
  }

  /** Ends all tasks. Returns the names of those that did not stop before the deadline. */
  async close(deadline: Deadline): Promise<string[]> {
    this.#controller.abort();
    if (this.#tasks.size > 0) {
      await new Promise<void>((resolve) => {
        const forget = deadline.onEnd(() => resolve());
        void Promise.allSettled(this.#tasks.keys()).then(() => {
          forget();
          resolve();
        });
      });
    }
    const stuck = this.running;
    for (const task of stuck) this.#report.stuck(`${this.name}/${task}`);
    return stuck;
  }
}

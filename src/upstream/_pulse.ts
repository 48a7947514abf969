/**
 * Asks a ready server now and then whether it lives.
 * Promises: one miss changes nothing; after a miss, or when a call has met a broken connection, the next question comes sooner; three misses in
 * a row without any other sign of life are the end of the connection.
 * Does not: ask by itself (`liveness.ts`) or reconnect (`link.ts`).
 */
import type { Limits } from '../config/limits.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { Scope } from '../kernel/scope.ts';
import type { Liveness } from './liveness.ts';

export interface PulseParts {
  readonly kernel: Kernel;
  readonly limits: Limits;
  readonly scope: Scope;
  readonly liveness: Liveness;
  /** True while calls are in flight: each has its own silence limit, which may be minutes, and that decides. */
  readonly hasCalls: () => boolean;
  /** So many questions in a row went unanswered. */
  readonly dead: (misses: number) => void;
}

const MISSES = 3;
/** Rest after a miss, and between a call's trouble and the question, ms. */
const SOON_MS = 2000;
const JITTER = 0.1;

export class Pulse implements Disposable {
  readonly #parts: PulseParts;
  #timer: Disposable | undefined;
  #misses = 0;
  #asking = false;
  #over = false;

  constructor(parts: PulseParts) {
    this.#parts = parts;
    this.#next(this.#usualMs());
  }

  /** A call has failed in a way that may mean that the server is gone. */
  suspect(): void {
    if (!this.#over && !this.#asking && this.#misses === 0)
      this.#next(Math.min(SOON_MS, this.#parts.limits.pingEveryMs));
  }

  [Symbol.dispose](): void {
    this.#over = true;
    this.#timer?.[Symbol.dispose]();
  }

  #usualMs(): number {
    const { kernel, limits } = this.#parts;
    return limits.pingEveryMs * (1 - JITTER + 2 * JITTER * kernel.random());
  }

  #next(ms: number): void {
    const { kernel, scope } = this.#parts;
    this.#timer?.[Symbol.dispose]();
    this.#timer = kernel.timers.after(ms, () => scope.run('ping', () => this.#ask()));
  }

  async #ask(): Promise<void> {
    const { limits, liveness, hasCalls } = this.#parts;
    this.#asking = true;
    const isAlive = await liveness.isAlive();
    this.#asking = false;
    if (this.#over) return;
    // A busy single-threaded server answers no ping while it works.
    const excused = liveness.showsLife(limits.pingMs) || hasCalls();
    this.#misses = isAlive || excused ? 0 : this.#misses + 1;
    if (this.#misses >= MISSES) this.#parts.dead(this.#misses);
    else this.#next(this.#misses === 0 ? this.#usualMs() : Math.min(SOON_MS, limits.pingEveryMs));
  }
}

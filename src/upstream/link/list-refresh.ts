/**
 * Reads a changed list again: once for several notifications, within a second for the first `STEADY_CHANGES` in a row,
 * then with an interval that doubles up to `relistCapMs` while the list keeps changing, and at most every two seconds
 * when it has not changed. After two intervals without a notification it starts over.
 */
import type { Limits } from '../../config/limits.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { Scope } from '../../runtime/scope.ts';

/** Notifications within this time are handled together, ms. */
const TOGETHER_MS = 250;
/**
 * After this many changes in a row, which are typical of a server that registers tools one by one, the interval grows.
 */
const STEADY_CHANGES = 8;
/** From the start of a reading that found nothing new to the next, ms. */
const SAME_MS = 2000;

export class ListRefresh implements Disposable {
  readonly #runtime: Runtime;
  readonly #limits: Pick<Limits, 'relistMs' | 'relistCapMs'>;
  readonly #scope: Scope;
  readonly #list: () => Promise<boolean>;
  #timer: Disposable | undefined;
  #isSame = false;
  /** Readings in a row that found something new, without a quiet period between them. */
  #changes = 0;
  #startedMs: number;
  #running = false;
  #again = false;
  #over = false;

  /**
   * `list` tells whether anything has changed. It may reject: the last good list is kept. The first list has just been
   * read.
   */
  constructor(
    { runtime, limits }: { readonly runtime: Runtime; readonly limits: Pick<Limits, 'relistMs' | 'relistCapMs'> },
    scope: Scope,
    list: () => Promise<boolean>,
  ) {
    this.#runtime = runtime;
    this.#limits = limits;
    this.#scope = scope;
    this.#list = list;
    this.#startedMs = runtime.clock.nowMs();
  }

  soon(): void {
    if (this.#over || this.#timer) return;
    if (this.#running) {
      this.#again = true;
      return;
    }
    const nowMs = this.#runtime.clock.nowMs();
    if (nowMs - this.#startedMs >= 2 * this.#pauseMs()) this.#changes = 0;
    const restMs = Math.max(TOGETHER_MS, this.#startedMs + this.#pauseMs() - nowMs);
    this.#timer = this.#runtime.timers.after(restMs, () => {
      this.#timer = undefined;
      this.#scope.run('relist', () => this.#run());
    });
  }

  /** Time from the start of the last reading to the next. */
  #pauseMs(): number {
    const { relistMs, relistCapMs } = this.#limits;
    const pauseMs = Math.min(relistMs * 2 ** Math.max(0, this.#changes - STEADY_CHANGES), relistCapMs);
    return this.#isSame ? Math.max(pauseMs, SAME_MS) : pauseMs;
  }

  [Symbol.dispose](): void {
    this.#over = true;
    this.#timer?.[Symbol.dispose]();
  }

  async #run(): Promise<void> {
    this.#running = true;
    this.#startedMs = this.#runtime.clock.nowMs();
    this.#isSame = true;
    try {
      if (await this.#list()) {
        this.#isSame = false;
        this.#changes += 1;
      }
    } catch {
      // The last good list is kept; keep-alive decides about the server.
    }
    this.#running = false;
    if (!this.#again) return;
    this.#again = false;
    this.soon();
  }
}

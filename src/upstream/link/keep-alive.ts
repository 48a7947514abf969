/**
 * Probes a ready server at intervals. It does not open a new session (`link.ts`); `liveness.ts` sends the probes.
 * Guarantees: one failure changes nothing; after it, or after a suspicious call, the next probe comes sooner; three
 * failures in a row end the connection. Other signs of life excuse silence, but not errors. As some servers answer ping
 * without checking the session, a list is requested as well, once in 30 s, while all calls fail.
 */
import type { Limits } from '../../config/limits.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { Scope } from '../../runtime/scope.ts';
import type { Liveness } from '../connection/liveness.ts';

export interface KeepAliveParts {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly scope: Scope;
  readonly liveness: Liveness;
  /** True while calls are pending: each has its own silence limit, possibly of minutes, which takes precedence. */
  readonly hasCalls: () => boolean;
  /** Called when the server does not know the session. */
  readonly forgotten: () => void;
  /** Called each time that it answered with errors only. */
  readonly failing: () => void;
  /** Called after this many probes in a row without an answer, or with errors. */
  readonly dead: (misses: number, isSilent: boolean) => void;
}

const MISSES = 3;
/** Delay after a failed probe, and between a failed call and the probe, ms. */
const SOON_MS = 2000;
const JITTER = 0.1;
/** Minimum interval between lists that are requested although ping is answered, ms. */
const LIST_EVERY_MS = 30_000;

export class KeepAlive implements Disposable {
  readonly #parts: KeepAliveParts;
  #timer: Disposable | undefined;
  /** When the next probe is due. */
  #dueMs = 0;
  #misses = 0;
  #asking = false;
  #over = false;
  #doAllFail = false;
  /** A call has failed since the last probe was sent. */
  #isSuspected = false;
  #listedMs = Number.NEGATIVE_INFINITY;

  constructor(parts: KeepAliveParts) {
    this.#parts = parts;
    this.#next(this.#usualMs());
  }

  /**
   * Probes soon after a failed call that may mean that the server is unreachable. `doAllFail`: the calls before it
   * failed as well.
   */
  suspect(doAllFail: boolean): void {
    this.#doAllFail = doAllFail;
    this.#isSuspected = true;
    if (this.#over || this.#asking || this.#misses > 0) return;
    const { runtime, limits } = this.#parts;
    const soonMs = Math.min(SOON_MS, limits.pingEveryMs);
    // Further failing calls do not postpone the probe.
    if (this.#dueMs - runtime.clock.nowMs() > soonMs) this.#next(soonMs);
  }

  [Symbol.dispose](): void {
    this.#over = true;
    this.#timer?.[Symbol.dispose]();
  }

  #usualMs(): number {
    const { runtime, limits } = this.#parts;
    return limits.pingEveryMs * (1 - JITTER + 2 * JITTER * runtime.random());
  }

  #next(ms: number): void {
    const { runtime, scope } = this.#parts;
    this.#timer?.[Symbol.dispose]();
    this.#dueMs = runtime.clock.nowMs() + ms;
    this.#timer = runtime.timers.after(ms, () => scope.run('ping', () => this.#ask()));
  }

  async #ask(): Promise<void> {
    const { limits, liveness, hasCalls } = this.#parts;
    this.#asking = true;
    this.#isSuspected = false;
    const condition = await liveness.examine();
    this.#asking = false;
    if (this.#over) return;
    if (condition === 'forgotten') this.#parts.forgotten();
    // A busy single-threaded server answers no ping while it works.
    const excused = condition === 'silent' && (liveness.showsLife(limits.pingMs) || hasCalls());
    const isMiss = condition === 'failing' || (condition === 'silent' && !excused);
    this.#misses = isMiss ? this.#misses + 1 : 0;
    if (this.#misses >= MISSES) return this.#parts.dead(this.#misses, condition === 'silent');
    // An excused silence is no answer: while calls keep failing the next probe comes soon.
    const isSoon = this.#misses > 0 || (excused && this.#isSuspected);
    this.#next(isSoon ? Math.min(SOON_MS, limits.pingEveryMs) : this.#usualMs());
    if (condition === 'failing') this.#parts.failing();
    else if (condition === 'well' && this.#doAllFail) await this.#askList();
  }

  /** A failure here does not count: when ping is answered, a list may fail for its own reasons. */
  async #askList(): Promise<void> {
    const { runtime, liveness, forgotten, failing } = this.#parts;
    const nowMs = runtime.clock.nowMs();
    if (nowMs - this.#listedMs < LIST_EVERY_MS) return;
    this.#listedMs = nowMs;
    const condition = await liveness.examineList();
    if (this.#over) return;
    if (condition === 'forgotten') forgotten();
    else if (condition === 'failing') failing();
  }
}

/**
 * Asks a ready server now and then whether it is well.
 * Promises: one miss changes nothing; after a miss, or when a call has failed in a way that may be the server's end, the next question comes sooner;
 * three misses in a row are the end of the connection. Where the server is silent another sign of life excuses a miss, where it answers with
 * errors only nothing does. Some servers answer ping without looking at the session: when all calls fail, a list is asked as well, once in 30 s.
 * Does not: ask by itself (`liveness.ts`), try a new session (`link.ts`) or reconnect.
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
  /** True while calls are in flight: each has its own silence limit, which may be minutes, and that decides. */
  readonly hasCalls: () => boolean;
  /** The session is unknown to the server. */
  readonly forgotten: () => void;
  /** It has answered with errors only; told each time. */
  readonly failing: () => void;
  /** So many questions in a row went unanswered, or were answered with errors. */
  readonly dead: (misses: number, isSilent: boolean) => void;
}

const MISSES = 3;
/** Rest after a miss, and between a call's trouble and the question, ms. */
const SOON_MS = 2000;
const JITTER = 0.1;
/** From one list that is asked although ping is answered to the next, ms. */
const LIST_EVERY_MS = 30_000;

export class KeepAlive implements Disposable {
  readonly #parts: KeepAliveParts;
  #timer: Disposable | undefined;
  /** When the next question is due. */
  #dueMs = 0;
  #misses = 0;
  #asking = false;
  #over = false;
  #doAllFail = false;
  /** A call has failed since the last question went out. */
  #isSuspected = false;
  #listedMs = Number.NEGATIVE_INFINITY;

  constructor(parts: KeepAliveParts) {
    this.#parts = parts;
    this.#next(this.#usualMs());
  }

  /** A call has failed in a way that may mean that the server is gone. `doAllFail` = so have the calls before it. */
  suspect(doAllFail: boolean): void {
    this.#doAllFail = doAllFail;
    this.#isSuspected = true;
    if (this.#over || this.#asking || this.#misses > 0) return;
    const { runtime, limits } = this.#parts;
    const soonMs = Math.min(SOON_MS, limits.pingEveryMs);
    // Calls that fail one after the other do not put the question off.
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
    // An excused silence is no answer: while calls go on failing it is asked again soon.
    const isSoon = this.#misses > 0 || (excused && this.#isSuspected);
    this.#next(isSoon ? Math.min(SOON_MS, limits.pingEveryMs) : this.#usualMs());
    if (condition === 'failing') this.#parts.failing();
    else if (condition === 'well' && this.#doAllFail) await this.#askList();
  }

  /** What it says here is no miss: a list that fails where ping is answered may be that list's own trouble. */
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

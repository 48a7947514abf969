/**
 * Answers that name no request. With one request pending, it is the one. With several, they are those that are left
 * when all others have got their own answers: as many as there are answers.
 * Guarantees: each request has time to get its own answer first, and its progress shows that it was not meant; that
 * time is `DOUBT_MS` where something else may have been meant, so that no caller quickly ends the calls of others, and
 * no call waits for longer than that; the text of an answer reaches its own caller only; a flood of answers costs a
 * comparison each.
 */
import type { Clock, Timers } from '../../runtime/clock.ts';

/** Sets of requests that are told apart; later answers count for the newest. */
const MOST = 8;
/** An own answer may still come for this long when nothing else can have been meant, ms. */
const GRACE_MS = 1000;
/** The same when something else may have been meant, ms; and for so long a cancelled request may still be answered. */
const DOUBT_MS = 30_000;
/** Cancelled requests that are known by their ids. */
const MOST_ABANDONED = 64;

/** Ends a request. `isOwn`: the answer was for this request and no other. */
export type EndRequest = (id: number, isOwn: boolean) => void;

export interface UnownedAnswer {
  /** Ids of the pending requests. */
  readonly pending: Iterable<number>;
  /** Position of the request that was sent last, in the order of sent messages. */
  readonly newest: number;
  /** A message that is no request may have been meant. */
  readonly isDoubtful: boolean;
  /** Returns what ends a request with this answer, which needs the text when `mayBeOwn`; called when it is kept. */
  readonly keep: (mayBeOwn: boolean) => EndRequest;
}

/** Answers that came while the same requests were pending. */
interface Group {
  /** Requests that have not got another answer since. */
  readonly ids: Set<number>; // bounded by: the pending requests
  readonly newest: number;
  readonly end: EndRequest;
  /** Number of answers, at most that of the requests. */
  count: number;
  isDoubtful: boolean;
}

export class UnownedAnswers implements Disposable {
  readonly #timers: Timers;
  readonly #clock: Clock;
  /** Requests that ended without an answer, and when, oldest first. */
  readonly #abandoned = new Map<number, number>(); // bounded by: MOST_ABANDONED
  /** Until then more than these may still be answered. */
  #manyUntilMs = Number.NEGATIVE_INFINITY;
  #groups: Group[] = []; // bounded by: MOST
  /** Requests that are about to be ended, and how to prevent it. */
  readonly #grace = new Map<number, Disposable>(); // bounded by: the pending requests

  constructor({ timers, clock }: { readonly timers: Timers; readonly clock: Clock }) {
    this.#timers = timers;
    this.#clock = clock;
  }

  /** Ends the request that an answer belongs to, now or when it is known. Returns false when it belongs to none. */
  add({ pending, newest, isDoubtful, keep }: UnownedAnswer): boolean {
    const isUncertain = isDoubtful || this.#isLateAnswerDue();
    const last = this.#groups.at(-1);
    if (last && (last.newest === newest || this.#groups.length >= MOST)) {
      last.isDoubtful ||= isUncertain;
      if (last.count >= last.ids.size) return false;
      last.count += 1;
    } else {
      const ids = new Set(pending);
      const [only] = ids;
      if (ids.size === 1 && !isUncertain && only !== undefined && !this.#grace.has(only)) {
        keep(true)(only, true);
        return true;
      }
      // These have an answer already.
      for (const id of this.#grace.keys()) ids.delete(id);
      if (ids.size === 0) {
        this.#wasLate(1);
        return false;
      }
      this.#groups.push({ ids, newest, end: keep(!isUncertain), count: 1, isDoubtful: isUncertain });
    }
    this.#assign();
    return true;
  }

  /** A request has ended. `isAnswered`: with an answer of its own; otherwise a kept one may be its answer. */
  ended(id: number, isAnswered: boolean): void {
    if (isAnswered && this.#isIdle) return;
    const hasKeptAnswer = this.#release(id);
    if (!isAnswered && !hasKeptAnswer) this.#abandon(id);
    if (isAnswered && hasKeptAnswer) this.#wasLate(1);
    for (const group of this.#groups) if (group.ids.delete(id) && !isAnswered) group.isDoubtful = true;
    this.#assign();
  }

  /** A request that had ended was answered after all. */
  late(id: number): void {
    this.#abandoned.delete(id);
  }

  /** A request has reported progress: no answer that came before is for it. */
  alive(id: number): void {
    if (this.#isIdle) return;
    if (this.#release(id)) this.#wasLate(1);
    for (const { ids } of this.#groups) ids.delete(id);
    this.#assign();
  }

  [Symbol.dispose](): void {
    this.#groups = [];
    for (const timer of this.#grace.values()) timer[Symbol.dispose]();
    this.#grace.clear();
  }

  get #isIdle(): boolean {
    return this.#groups.length === 0 && this.#grace.size === 0;
  }

  /** Returns true when it was about to be ended. */
  #release(id: number): boolean {
    this.#grace.get(id)?.[Symbol.dispose]();
    return this.#grace.delete(id);
  }

  #abandon(id: number): void {
    const nowMs = this.#clock.nowMs();
    this.#abandoned.set(id, nowMs);
    if (this.#abandoned.size <= MOST_ABANDONED) return;
    this.#wasLate(1);
    this.#manyUntilMs = nowMs + DOUBT_MS;
  }

  /** Tells whether a request that was abandoned may still be answered. */
  #isLateAnswerDue(): boolean {
    const nowMs = this.#clock.nowMs();
    for (const [id, atMs] of this.#abandoned) {
      if (nowMs - atMs < DOUBT_MS) return true;
      this.#abandoned.delete(id);
    }
    return nowMs < this.#manyUntilMs;
  }

  /** So many answers were those of abandoned requests. */
  #wasLate(count: number): void {
    for (const id of [...this.#abandoned.keys()].slice(0, count)) this.#abandoned.delete(id);
  }

  #assign(): void {
    for (const group of this.#groups) {
      const surplus = group.count - group.ids.size;
      if (surplus <= 0) continue;
      this.#wasLate(surplus);
      group.count = group.ids.size;
    }
    for (;;) {
      const certain = this.#groups.find(({ ids, count }) => ids.size <= count);
      if (certain === undefined) break;
      this.#groups = this.#groups.filter((other) => other !== certain);
      this.#endSoon(certain.ids, certain);
    }
    const last = this.#groups.at(-1);
    if (this.#groups.length < 2 || last === undefined) return;
    // The newest has all requests of the others that are still open.
    const count = this.#groups.reduce((sum, group) => sum + group.count, 0);
    if (last.ids.size > count) return;
    const isDoubtful = this.#groups.some((group) => group.isDoubtful);
    const [first] = this.#groups;
    this.#groups = [];
    if (first) this.#endSoon(last.ids, { ...first, count, isDoubtful });
  }

  /** Ends these requests unless their own answers, or progress, come first. */
  #endSoon(requests: ReadonlySet<number>, { end, count, isDoubtful }: Group): void {
    const isOwn = count === 1 && !isDoubtful;
    for (const id of requests) {
      for (const { ids } of this.#groups) ids.delete(id);
      const finish = (): void => {
        this.#grace.delete(id);
        end(id, isOwn);
        // It may not have been meant: its own answer can still come.
        if (isDoubtful) this.#abandon(id);
      };
      this.#grace.set(id, this.#timers.after(isDoubtful ? DOUBT_MS : GRACE_MS, finish));
    }
  }
}

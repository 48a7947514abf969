/**
 * Answers that name no request. With one request pending, it is the one. With several, it is the one that is left when
 * all others have got theirs, after `GRACE_MS` in which its own answer may still come.
 * Guarantees: a request is ended only when no other can have been meant, also none that was cancelled or timed out in
 * the last `ABANDONED_MS`, so that no caller ends the calls of others; at most `MOST` answers are kept, and a flood of
 * them costs nothing more.
 */
import type { Clock, Timers } from '../../runtime/clock.ts';

/** Answers that are kept; further ones are dropped. */
const MOST = 8;
const GRACE_MS = 1000;
/** For so long the server may still answer a request that is not waited for any more. */
const ABANDONED_MS = 30_000;

interface Unowned {
  /** Requests that were pending and have not got another answer since. */
  readonly ids: Set<number>; // bounded by: the pending requests
  /** Ends a request with the answer. */
  readonly end: (id: number) => void;
}

export class UnownedAnswers implements Disposable {
  readonly #timers: Timers;
  readonly #clock: Clock;
  #abandonedMs = Number.NEGATIVE_INFINITY;
  #answers: Unowned[] = []; // bounded by: MOST
  /** Requests that are about to be ended. */
  readonly #grace = new Map<number, Disposable>(); // bounded by: MOST

  constructor({ timers, clock }: { readonly timers: Timers; readonly clock: Clock }) {
    this.#timers = timers;
    this.#clock = clock;
  }

  /** True when an answer that is added now would be dropped. */
  get isFull(): boolean {
    if (this.#answers.length + this.#grace.size >= MOST) return true;
    return this.#clock.nowMs() - this.#abandonedMs < ABANDONED_MS;
  }

  /** `ids`: the pending requests; `end` is called with one of them, at most once. */
  add(ids: Iterable<number>, end: (id: number) => void): void {
    if (this.isFull) return;
    const pending = new Set(ids);
    const [only] = pending;
    if (pending.size === 1 && only !== undefined && !this.#grace.has(only)) return end(only);
    // These have an answer already.
    for (const id of this.#grace.keys()) pending.delete(id);
    this.#answers.push({ ids: pending, end });
    this.#assign();
  }

  /** A request has ended. `isAnswered`: with an answer of its own; otherwise a kept one may be its late answer. */
  ended(id: number, isAnswered: boolean): void {
    if (!isAnswered) this.#abandonedMs = this.#clock.nowMs();
    if (this.#answers.length === 0 && this.#grace.size === 0) return;
    this.#grace.get(id)?.[Symbol.dispose]();
    this.#grace.delete(id);
    if (isAnswered) for (const { ids } of this.#answers) ids.delete(id);
    else this.#answers = this.#answers.filter(({ ids }) => !ids.has(id));
    this.#assign();
  }

  [Symbol.dispose](): void {
    this.#answers = [];
    for (const timer of this.#grace.values()) timer[Symbol.dispose]();
    this.#grace.clear();
  }

  #assign(): void {
    for (;;) {
      const certain = this.#answers.find(({ ids }) => ids.size <= 1) ?? this.#oneOfAsMany();
      if (certain === undefined) return;
      const [id] = certain.ids;
      this.#answers = this.#answers.filter((other) => other !== certain);
      if (id !== undefined) this.#endSoon(id, certain.end);
    }
  }

  /** Returns an answer when there are as many as requests they can belong to: each of these gets one. */
  #oneOfAsMany(): Unowned | undefined {
    const ids = new Set<number>(); // bounded by: the pending requests
    for (const answer of this.#answers)
      for (const id of answer.ids) if (ids.add(id).size > this.#answers.length) return undefined;
    return this.#answers[0];
  }

  #endSoon(id: number, end: (id: number) => void): void {
    for (const { ids } of this.#answers) ids.delete(id);
    this.#grace.set(
      id,
      this.#timers.after(GRACE_MS, () => {
        this.#grace.delete(id);
        end(id);
      }),
    );
  }
}

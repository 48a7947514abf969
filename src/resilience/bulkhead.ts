/**
 * Limits concurrent calls: at most `inside` run and `waiting` queue; others are refused at once. Keys take turns, so
 * one key cannot crowd out the others; one key holds at most three quarters of the places; when the queue is full, a
 * key with fewer waiters takes the newest place of the key with most.
 * Guarantees: `enter` returns at once when there is room; a waiter leaves as soon as its deadline passes or its caller
 * disconnects, even if no place is released; releasing a permit twice is safe; no timers of its own.
 */

import type { Outcome, Refusal } from '../model/outcome.ts';
import type { Deadline } from '../runtime/deadline.ts';
import { Holdings } from '../runtime/holdings.ts';

export interface BulkheadOptions {
  /** Functions read a maximum that may change; a lower one admits nobody until enough places are free. */
  readonly inside: number | (() => number);
  readonly waiting: number | (() => number);
  /** Creates the refusal when a caller is refused or its wait ends. */
  readonly refusal: (why: 'full' | 'waited', inside: number, waiting: number) => Refusal;
}

/** A place inside; disposing it releases the place. */
export interface Permit extends Disposable {}

/** Share of places above which a key only gets an equal part, or its first place. */
const NEARLY_FULL = 0.75;
/** Smaller bulkheads have no shares, because one user's two or three calls would wait for each other. */
const SHARED_FROM = 8;

/** The places inside that one key holds. */
interface Holder {
  readonly key: string;
  places: number;
}

/** A class, because an object literal with a computed member takes ten times as long to create. */
class Place implements Permit {
  #holder: Holder | undefined;
  readonly #given: (holder: Holder) => void;

  constructor(holder: Holder, given: (holder: Holder) => void) {
    this.#holder = holder;
    this.#given = given;
  }

  [Symbol.dispose](): void {
    const holder = this.#holder;
    this.#holder = undefined;
    if (holder) this.#given(holder);
  }
}

interface Waiter {
  readonly key: string;
  settle(outcome: Outcome<Permit>): void;
  gone: boolean;
}

export class Bulkhead {
  readonly #options: BulkheadOptions;
  readonly #maxInside: () => number;
  readonly #maxWaiting: () => number;
  /** Waiters by key; keys are in the order of their next turn. */
  // bounded by: twice `waiting`: those that left are dropped when they are the greater part
  readonly #queues = new Map<string, Waiter[]>();
  /** Number of waiters per key. */
  readonly #held = new Holdings((size) => size);
  /** Places inside, per key that holds one. */
  readonly #holders = new Map<string, Holder>(); // bounded by: inside
  /** Waiters that left but are still in a queue. */
  #left = 0;
  #inside = 0;
  #waiting = 0;

  constructor(options: BulkheadOptions) {
    const { inside, waiting } = options;
    this.#options = options;
    this.#maxInside = typeof inside === 'number' ? () => inside : inside;
    this.#maxWaiting = typeof waiting === 'number' ? () => waiting : waiting;
  }

  get inside(): number {
    return this.#inside;
  }

  get waiting(): number {
    return this.#waiting;
  }

  /** Returns true when the queue has room, or another key has more waiters than this one would have. */
  hasPlace(key: string): boolean {
    return this.#waiting < this.#maxWaiting() || this.#held.most > this.#held.of(key) + 1;
  }

  /** Returns the refusal of a full bulkhead. */
  refuse(): Refusal {
    return this.#options.refusal('full', this.#inside, this.#waiting);
  }

  /** Returns a permit or a refusal at once, or a promise of one that settles by the deadline. */
  enter(deadline: Deadline, key: string): Outcome<Permit> | Promise<Outcome<Permit>> {
    const permit = this.tryEnter(key);
    if (permit) return permit;
    if (this.#waiting >= this.#maxWaiting() && !this.#makePlace(key)) return this.refuse();
    if (deadline.ended !== undefined) return this.#options.refusal('waited', this.#inside, this.#waiting);
    return new Promise((resolve) => this.#queue(deadline, key, resolve));
  }

  /** Returns a permit when there is room for this key now and no waiter could use it; never waits. */
  tryEnter(key: string): Permit | undefined {
    if (this.#inside >= this.#maxInside() || !this.#mayHold(key)) return undefined;
    // Keys that wait although there is room have used up their share.
    return this.#waiting === 0 || this.#held.of(key) === 0 ? this.#permit(key) : undefined;
  }

  /** Returns false when the key holds as many places as one key may at the current load. */
  #mayHold(key: string): boolean {
    const inside = this.#maxInside();
    if (inside < SHARED_FROM || this.#inside + 1 <= inside * NEARLY_FULL) return true;
    const holds = this.#holders.get(key)?.places ?? 0;
    return holds === 0 || holds + 1 <= Math.floor(inside / (this.#holders.size + 1));
  }

  #queue(deadline: Deadline, key: string, resolve: (outcome: Outcome<Permit>) => void): void {
    let forget = () => {};
    const waiter: Waiter = {
      key,
      gone: false,
      settle: (outcome) => {
        waiter.gone = true;
        this.#waiting -= 1;
        this.#held.set(key, this.#held.of(key) - 1);
        forget();
        resolve(outcome);
      },
    };
    const queue = this.#queues.get(key);
    if (queue) queue.push(waiter);
    else this.#queues.set(key, [waiter]);
    this.#waiting += 1;
    this.#held.set(key, this.#held.of(key) + 1);
    forget = deadline.onEnd(() => {
      if (waiter.gone) return;
      waiter.settle(this.#options.refusal('waited', this.#inside, this.#waiting));
      this.#leftOne();
    });
  }

  /** Refuses the newest waiter of the key with most waiters, if `hasPlace` allows it. */
  #makePlace(key: string): boolean {
    const greediest = this.#held.greediest;
    const queue = greediest !== undefined && this.hasPlace(key) ? this.#queues.get(greediest) : undefined;
    let newest = queue?.pop();
    while (newest?.gone) {
      this.#left -= 1;
      newest = queue?.pop();
    }
    newest?.settle(this.refuse());
    return newest !== undefined;
  }

  #leftOne(): void {
    this.#left += 1;
    if (this.#left > this.#waiting) this.#forgetLeft();
  }

  /**
   * Removes abandoned waiters in bulk. Searching for each would take quadratic time when a thousand leave at once
   * (2,048: 1.8 ms, so 0.4 ms; measured).
   */
  #forgetLeft(): void {
    this.#left = 0;
    for (const [key, queue] of this.#queues) {
      const there = queue.filter(({ gone }) => !gone);
      if (there.length === 0) this.#queues.delete(key);
      else if (there.length < queue.length) this.#queues.set(key, there);
    }
  }

  #permit(key: string): Permit {
    this.#inside += 1;
    let holder = this.#holders.get(key);
    if (!holder) {
      holder = { key, places: 0 };
      this.#holders.set(key, holder);
    }
    holder.places += 1;
    return new Place(holder, this.#given);
  }

  readonly #given = (holder: Holder): void => {
    this.#inside -= 1;
    holder.places -= 1;
    if (holder.places === 0) this.#holders.delete(holder.key);
    this.admit();
  };

  /**
   * Gives free places to the next keys in turn that may hold one more; each then goes to the end of the order. Call it
   * when `inside` has grown.
   */
  admit(): void {
    while (this.#inside < this.#maxInside()) {
      const turn = this.#nextTurn();
      if (!turn) return;
      const [key, queue] = turn;
      let waiter = queue.shift();
      while (waiter?.gone) {
        this.#left -= 1;
        waiter = queue.shift();
      }
      this.#queues.delete(key);
      if (queue.length > 0) this.#queues.set(key, queue);
      waiter?.settle(this.#permit(key));
    }
  }

  /** Skips only the keys that hold their full share, of which there are few. */
  #nextTurn(): [string, Waiter[]] | undefined {
    for (const turn of this.#queues) if (this.#mayHold(turn[0])) return turn;
    return undefined;
  }
}

/**
 * At most `inside` calls run and `waiting` queue; the rest are refused at once. Keys take turns, so that a flood by one leaves the others' turn;
 * when the queue is full, a key that has fewer waiters takes the newest place of the key that has most.
 * Promises: `enter` answers at once when there is room; a waiter leaves the moment its deadline passes or its caller goes away, also while
 * nothing is released; a permit is safe to give back twice; no timers of its own.
 * Does not: know servers or errors beyond the refusal that its owner gives it.
 */
import type { Deadline } from '../kernel/deadline.ts';
import { Holdings } from '../kernel/holdings.ts';
import type { Outcome, Refusal } from '../kernel/outcome.ts';

export interface BulkheadOptions {
  readonly inside: number;
  readonly waiting: number;
  /** Made when a caller is refused or its wait ends. */
  readonly refusal: (why: 'full' | 'waited', inside: number, waiting: number) => Refusal;
}

/** A place inside; dispose gives it back. */
export interface Permit extends Disposable {}

interface Waiter {
  readonly key: string;
  settle(outcome: Outcome<Permit>): void;
  gone: boolean;
}

export class Bulkhead {
  readonly #options: BulkheadOptions;
  /** Waiters by key; keys stand in the order of their next turn. */
  readonly #queues = new Map<string, Waiter[]>(); // bounded by: twice `waiting`: those that left are dropped when they are the greater part
  /** Waiters of each key. */
  readonly #held = new Holdings((size) => size);
  /** Waiters that left and still stand in a queue. */
  #left = 0;
  #inside = 0;
  #waiting = 0;

  constructor(options: BulkheadOptions) {
    this.#options = options;
  }

  get inside(): number {
    return this.#inside;
  }

  get waiting(): number {
    return this.#waiting;
  }

  /** There is room inside or in the queue, or another key has more waiters than this one would have. */
  hasPlace(key: string): boolean {
    return !this.#isFull || this.#held.most > this.#held.of(key) + 1;
  }

  get #isFull(): boolean {
    return this.#inside >= this.#options.inside && this.#waiting >= this.#options.waiting;
  }

  /** The refusal of a full bulkhead. */
  refuse(): Refusal {
    return this.#options.refusal('full', this.#inside, this.#waiting);
  }

  /** A permit or a refusal at once, or a promise of one that settles by the deadline. */
  enter(deadline: Deadline, key: string): Outcome<Permit> | Promise<Outcome<Permit>> {
    if (this.#inside < this.#options.inside && this.#waiting === 0) return this.#permit();
    if (this.#isFull && !this.#makePlace(key)) return this.refuse();
    if (deadline.ended !== undefined) return this.#options.refusal('waited', this.#inside, this.#waiting);
    return new Promise((resolve) => this.#queue(deadline, key, resolve));
  }

  /** A permit if there is room now; never waits. */
  tryEnter(): Permit | undefined {
    return this.#inside < this.#options.inside && this.#waiting === 0 ? this.#permit() : undefined;
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

  /** Refuses the newest waiter of the key that has most, where `hasPlace` allows it. */
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

  /** Looking for each one that leaves would cost the square of a thousand that leave at once (2,048: 1.8 ms, so 0.4 ms; measured). */
  #forgetLeft(): void {
    this.#left = 0;
    for (const [key, queue] of this.#queues) {
      const there = queue.filter(({ gone }) => !gone);
      if (there.length === 0) this.#queues.delete(key);
      else if (there.length < queue.length) this.#queues.set(key, there);
    }
  }

  #permit(): Permit {
    this.#inside += 1;
    let held = true;
    return {
      [Symbol.dispose]: () => {
        if (!held) return;
        held = false;
        this.#inside -= 1;
        this.#admit();
      },
    };
  }

  /** The next key in turn gets the place; it then stands at the end of the row. */
  #admit(): void {
    while (this.#inside < this.#options.inside) {
      const turn = this.#queues.entries().next().value;
      if (!turn) return;
      const [key, queue] = turn;
      let waiter = queue.shift();
      while (waiter?.gone) {
        this.#left -= 1;
        waiter = queue.shift();
      }
      this.#queues.delete(key);
      if (queue.length > 0) this.#queues.set(key, queue);
      waiter?.settle(this.#permit());
    }
  }
}

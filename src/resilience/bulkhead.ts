/**
 * At most `inside` calls run and `waiting` queue; the rest are refused at once. Keys take turns, so that a flood by one leaves the others' turn; one
 * key alone holds three quarters of the places at most, so that another's call need not wait for the end of its long ones;
 * when the queue is full, a key that has fewer waiters takes the newest place of the key that has most.
 * Promises: `enter` answers at once when there is room; a waiter leaves the moment its deadline passes or its caller goes away, also while
 * nothing is released; a permit is safe to give back twice; no timers of its own.
 * Does not: know servers or errors beyond the refusal that its owner gives it.
 */

import type { Outcome, Refusal } from '../model/outcome.ts';
import type { Deadline } from '../runtime/deadline.ts';
import { Holdings } from '../runtime/holdings.ts';

export interface BulkheadOptions {
  readonly inside: number;
  readonly waiting: number;
  /** Made when a caller is refused or its wait ends. */
  readonly refusal: (why: 'full' | 'waited', inside: number, waiting: number) => Refusal;
}

/** A place inside; dispose gives it back. */
export interface Permit extends Disposable {}

/** Above this part of its places one key gets an equal part only, and its first one. */
const NEARLY_FULL = 0.75;
/** A bulkhead with fewer places has no shares: one person's two or three calls would wait for each other. */
const SHARED_FROM = 8;

/** The places inside of one key. */
interface Holder {
  readonly key: string;
  places: number;
}

/** A class, since an object literal with a computed member takes ten times as long to make. */
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
  /** Waiters by key; keys stand in the order of their next turn. */
  readonly #queues = new Map<string, Waiter[]>(); // bounded by: twice `waiting`: those that left are dropped when they are the greater part
  /** Waiters of each key. */
  readonly #held = new Holdings((size) => size);
  /** Places inside of each key that has one. */
  readonly #holders = new Map<string, Holder>(); // bounded by: inside
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

  /** There is room in the queue, or another key has more waiters than this one would have. */
  hasPlace(key: string): boolean {
    return this.#waiting < this.#options.waiting || this.#held.most > this.#held.of(key) + 1;
  }

  /** The refusal of a full bulkhead. */
  refuse(): Refusal {
    return this.#options.refusal('full', this.#inside, this.#waiting);
  }

  /** A permit or a refusal at once, or a promise of one that settles by the deadline. */
  enter(deadline: Deadline, key: string): Outcome<Permit> | Promise<Outcome<Permit>> {
    const permit = this.tryEnter(key);
    if (permit) return permit;
    if (this.#waiting >= this.#options.waiting && !this.#makePlace(key)) return this.refuse();
    if (deadline.ended !== undefined) return this.#options.refusal('waited', this.#inside, this.#waiting);
    return new Promise((resolve) => this.#queue(deadline, key, resolve));
  }

  /** A permit if there is room for this key now, and nobody waits who could have it; never waits. */
  tryEnter(key: string): Permit | undefined {
    if (this.#inside >= this.#options.inside || !this.#mayHold(key)) return undefined;
    // Those that wait while there is room have taken their own share.
    return this.#waiting === 0 || this.#held.of(key) === 0 ? this.#permit(key) : undefined;
  }

  /** False = the key holds as many places as one key may while so many are taken. */
  #mayHold(key: string): boolean {
    const { inside } = this.#options;
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
    this.#admit();
  };

  /** The next key in turn that may hold one more gets the place; it then stands at the end of the row. */
  #admit(): void {
    while (this.#inside < this.#options.inside) {
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

  /** Looks past those keys only that hold their share, of which there are few. */
  #nextTurn(): [string, Waiter[]] | undefined {
    for (const turn of this.#queues) if (this.#mayHold(turn[0])) return turn;
    return undefined;
  }
}

/**
 * A queue with a maximum size (`capped.ts`: the other containers).
 * Guarantees: `size` never exceeds `max`, except after `max` was lowered; overflow is counted; `push` and `shift` are
 * O(1), amortized.
 */
import { Capped, type ContainerLimits, type MaxSize } from './container-limits.ts';

/** A first-in, first-out queue. When full it refuses the new item (`refuse`) or drops the oldest (`drop-oldest`). */
export class CappedQueue<T> extends Capped {
  #items: (T | undefined)[] = []; // bounded by: max
  #head = 0;
  readonly #dropOldest: boolean;

  constructor(name: string, max: MaxSize, rule: 'refuse' | 'drop-oldest', ceilings: ContainerLimits) {
    super(name, max, rule, ceilings);
    this.#dropOldest = rule === 'drop-oldest';
  }

  get size(): number {
    return this.#items.length - this.#head;
  }

  /** Returns false when the queue is full: the new item was refused, or older ones were dropped for it. */
  push(item: T): boolean {
    let fits = true;
    while (this.size >= this.max) {
      this.overflowed += 1;
      if (!this.#dropOldest) return false;
      this.shift();
      fits = false;
    }
    this.#items.push(item);
    this.mark();
    return fits;
  }

  override shrink(most: number): boolean {
    if (!this.#dropOldest) return false;
    for (let dropped = 0; dropped < most && this.size > this.max; dropped += 1) {
      this.overflowed += 1;
      this.shift();
    }
    return this.size > this.max;
  }

  shift(): T | undefined {
    if (this.size === 0) return undefined;
    const item = this.#items[this.#head];
    this.#items[this.#head] = undefined;
    this.#head += 1;
    if (this.#head > 64 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }

  peek(): T | undefined {
    return this.#items[this.#head];
  }

  clear(): void {
    this.#items = [];
    this.#head = 0;
  }

  *values(): Generator<T> {
    for (let at = this.#head; at < this.#items.length; at += 1) yield this.#items[at] as T;
  }
}

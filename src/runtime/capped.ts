/**
 * Containers with a maximum size. Each has a name, a maximum and a rule for overflow, and is listed by GET
 * /api/ceilings.
 * Guarantees: `size` never exceeds `max`, except after `max` was lowered, and does not grow then; overflow is counted;
 * every operation is O(1).
 */

import { Capped, type ContainerLimits, type MaxSize, type OverflowRule } from './container-limits.ts';
import { type Linked, UseOrder } from './use-order.ts';

export { type ContainerLimitRow, ContainerLimits, type MaxSize } from './container-limits.ts';

interface Entry<K, V> extends Linked<Entry<K, V>> {
  readonly key: K;
  value: V;
}

/** A map that, when full, drops its least recently used entry (`drop-oldest`) or refuses new keys (`refuse`). */
export class CappedMap<K, V> extends Capped {
  readonly #entries = new Map<K, Entry<K, V>>(); // bounded by: max
  /** Undefined in a map that refuses. */
  readonly #order: UseOrder<Entry<K, V>> | undefined;
  readonly #dropped: ((key: K, value: V) => void) | undefined;

  /** `dropped` is called for entries that overflow dropped, not for `delete`. */
  constructor(
    name: string,
    max: MaxSize,
    rule: 'refuse' | 'drop-oldest',
    ceilings: ContainerLimits,
    dropped?: (key: K, value: V) => void,
  ) {
    super(name, max, rule, ceilings);
    this.#order = rule === 'drop-oldest' ? new UseOrder() : undefined;
    this.#dropped = dropped;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Returns the value; marks it as recently used once the map is half full. */
  get(key: K): V | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    if (this.#entries.size * 2 > this.max) this.#order?.touch(entry);
    return entry.value;
  }

  has(key: K): boolean {
    return this.#entries.has(key);
  }

  /** Returns false when the map is full and refuses the key. */
  set(key: K, value: V): boolean {
    const known = this.#entries.get(key);
    if (known) {
      known.value = value;
      return true;
    }
    if (this.#entries.size >= this.max) {
      if (!this.#dropOldest()) {
        this.overflowed += 1;
        return false;
      }
    }
    const entry: Entry<K, V> = { key, value, older: undefined, newer: undefined };
    this.#order?.append(entry);
    this.#entries.set(key, entry);
    this.mark();
    return true;
  }

  delete(key: K): boolean {
    const entry = this.#entries.get(key);
    if (entry) this.#order?.remove(entry);
    return this.#entries.delete(key);
  }

  clear(): void {
    this.#entries.clear();
    this.#order?.clear();
  }

  override shrink(most: number): boolean {
    for (let left = most; left > 0; left -= 1) if (this.#entries.size <= this.max || !this.#dropOldest()) return false;
    return true;
  }

  #dropOldest(): boolean {
    const oldest = this.#order?.oldest;
    if (oldest === undefined) return false;
    this.overflowed += 1;
    this.delete(oldest.key);
    this.#dropped?.(oldest.key, oldest.value);
    return true;
  }

  keys(): MapIterator<K> {
    return this.#entries.keys();
  }

  *values(): Generator<V> {
    for (const { value } of this.#entries.values()) yield value;
  }

  *entries(): Generator<[K, V]> {
    for (const { key, value } of this.#entries.values()) yield [key, value];
  }
}

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

/**
 * Numbered slots for pending requests. With a Map of request objects p99 rose from 3 to 17 ms (measured); reused slots
 * avoid that. Together with a generation that the owner keeps, the slot number can serve as a JSON-RPC id.
 */
export class CappedSlots<T> extends Capped {
  readonly #slots: (T | undefined)[] = []; // bounded by: max
  readonly #free: number[] = []; // bounded by: max
  #used = 0;

  constructor(name: string, max: MaxSize, ceilings: ContainerLimits) {
    super(name, max, 'refuse', ceilings);
  }

  get size(): number {
    return this.#used;
  }

  /** Returns the number of the slot, or −1 when all are taken. */
  add(item: T): number {
    if (this.#used >= this.max) {
      this.overflowed += 1;
      return -1;
    }
    const slot = this.#free.pop() ?? this.#slots.length;
    this.#slots[slot] = item;
    this.#used += 1;
    this.mark();
    return slot;
  }

  at(slot: number): T | undefined {
    return this.#slots[slot];
  }

  /** Puts another item into a slot that is taken. */
  replace(slot: number, item: T): void {
    if (this.#slots[slot] !== undefined) this.#slots[slot] = item;
  }

  free(slot: number): T | undefined {
    const item = this.#slots[slot];
    if (item === undefined) return undefined;
    this.#slots[slot] = undefined;
    this.#free.push(slot);
    this.#used -= 1;
    return item;
  }

  *values(): Generator<T> {
    for (const item of this.#slots) if (item !== undefined) yield item;
  }
}

/** A count that must not exceed its maximum: connections, calls, buffered bytes. */
export class CappedCount extends Capped {
  #count = 0;

  constructor(name: string, max: MaxSize, rule: OverflowRule, ceilings: ContainerLimits) {
    super(name, max, rule, ceilings);
  }

  get size(): number {
    return this.#count;
  }

  /** Takes `amount` and returns true, or takes nothing and returns false. */
  take(amount = 1): boolean {
    if (this.#count + amount > this.max) {
      this.overflowed += 1;
      return false;
    }
    this.#count += amount;
    this.mark();
    return true;
  }

  give(amount = 1): void {
    this.#count = Math.max(0, this.#count - amount);
  }
}

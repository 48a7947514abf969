/**
 * Containers with a maximum size: map and count here, the others in `capped-queue.ts` and `capped-slots.ts`. Each has a
 * name, a maximum and a rule for overflow, and is listed by GET /api/ceilings.
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

/**
 * Containers that count what each owner holds: a total limit, and a share for each owner (`shareOf` in `principal.ts`).
 * Guarantees: an owner above its share loses, or is refused, its own entries only; a full container evicts from the
 * owner that holds most; in a container that refuses, one owner fills at most three quarters, so that a new owner finds
 * a place; every operation is O(1), also when full; after a limit was lowered, nothing above it grows, and `shrink`
 * drops what the rule drops.
 */

import { Capped, type ContainerLimits, type MaxSize } from './container-limits.ts';
import { Holdings, powerOfTwo } from './holdings.ts';
import { type Linked, UseOrder } from './use-order.ts';

export interface Bounds {
  readonly max: MaxSize;
  /** Most that one owner may hold. */
  readonly share: MaxSize;
}

export type Taken = 'taken' | 'share' | 'full';

/**
 * Above this part of `max` an owner gets an equal part only; its first entry is always accepted while there is room.
 */
const NEARLY_FULL = 0.75;

/**
 * Returns the most that an owner may hold after taking `amount`: its share, or, when little room would be left, an
 * equal part among the owners and one more.
 */
function allowance({ max, share }: Capped, holdings: Holdings, held: number, sizeAfter: number): number {
  if (held === 0 || sizeAfter <= max * NEARLY_FULL) return share;
  return Math.min(share, Math.max(1, Math.floor(max / (holdings.owners + 1))));
}

/** A count with a total limit and a share for each owner: streams, connections, buffered bytes. */
export class FairCount extends Capped {
  readonly #holdings = new Holdings(powerOfTwo);
  #total = 0;

  constructor(name: string, max: MaxSize, share: MaxSize, rule: 'refuse' | 'disconnect', ceilings: ContainerLimits) {
    super(name, max, rule, ceilings, share);
  }

  get size(): number {
    return this.#total;
  }

  /** Takes `amount`, or takes nothing and says which limit was reached: `share` (the owner's) or `full` (the total). */
  take(owner: string, amount = 1): Taken {
    const held = this.#holdings.of(owner);
    if (held + amount > allowance(this, this.#holdings, held, this.#total + amount)) {
      this.overflowed += 1;
      return 'share';
    }
    if (this.#total + amount > this.max) {
      this.overflowed += 1;
      return 'full';
    }
    this.#total += amount;
    this.#holdings.set(owner, held + amount);
    this.mark();
    return 'taken';
  }

  /** Gives back `amount`, at most what the owner holds. */
  give(owner: string, amount = 1): void {
    const held = this.#holdings.of(owner);
    const given = Math.min(held, amount);
    if (given <= 0) return;
    this.#total -= given;
    this.#holdings.set(owner, held - given);
  }

  sizeOf(owner: string): number {
    return this.#holdings.of(owner);
  }

  /** An owner that holds at least half as much as any other; undefined when nobody holds anything. */
  get greediest(): string | undefined {
    return this.#holdings.greediest;
  }

  get owners(): number {
    return this.#holdings.owners;
  }
}

interface Entry<K, V> extends Linked<Entry<K, V>> {
  readonly key: K;
  readonly owner: string;
  value: V;
}

/** A map with a total limit and a share for each owner. */
export class FairMap<K, V> extends Capped {
  readonly #evicts: boolean;
  readonly #evicted: ((key: K, value: V) => void) | undefined;
  readonly #entries = new Map<K, Entry<K, V>>(); // bounded by: max
  /** The entries of each owner. */
  readonly #orders = new Map<string, UseOrder<Entry<K, V>>>(); // bounded by: max; every owner has an entry
  readonly #holdings = new Holdings((size) => size);
  /** Below this size no limit is near, and the order of use is not kept. */
  #orderedFrom: number;

  /**
   * `refuse` refuses a new key of an owner above its share, `evict-greediest` drops the owner's oldest entry, or the
   * oldest of the owner that holds most when the map is full. `evicted` is called for entries that overflow dropped,
   * not for `delete`.
   */
  constructor(
    name: string,
    { max, share }: Bounds,
    rule: 'refuse' | 'evict-greediest',
    ceilings: ContainerLimits,
    evicted?: (key: K, value: V) => void,
  ) {
    super(name, max, rule === 'refuse' ? 'refuse' : 'drop-oldest', ceilings, share);
    this.#evicts = rule === 'evict-greediest';
    this.#evicted = evicted;
    this.#orderedFrom = this.share / 2;
  }

  get size(): number {
    return this.#entries.size;
  }

  sizeOf(owner: string): number {
    return this.#holdings.of(owner);
  }

  get owners(): number {
    return this.#holdings.owners;
  }

  /**
   * Returns the value; marks it as the owner's most recently used once the map is half full or a share could be
   * reached.
   */
  get(key: K): V | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    if (entry.newer !== undefined && this.#entries.size > this.#orderedFrom)
      this.#orders.get(entry.owner)?.touch(entry);
    return entry.value;
  }

  has(key: K): boolean {
    return this.#entries.has(key);
  }

  /** Tells whether a map that refuses would accept a new key of this owner. */
  hasRoom(owner: string): boolean {
    const held = this.sizeOf(owner);
    return this.size < this.max && held < allowance(this, this.#holdings, held, this.size + 1);
  }

  /** Returns the entry that `owner` has used least recently. */
  oldestOf(owner: string): [K, V] | undefined {
    const entry = this.#orders.get(owner)?.oldest;
    return entry && [entry.key, entry.value];
  }

  /** Returns the keys of an owner, least recently used first. */
  keysOf(owner: string): K[] {
    const keys: K[] = []; // bounded by: the owner's share
    for (let entry = this.#orders.get(owner)?.oldest; entry !== undefined; entry = entry.newer) keys.push(entry.key);
    return keys;
  }

  /** The owner that holds most; undefined when the map is empty. */
  get greediest(): string | undefined {
    return this.#holdings.greediest;
  }

  ownerOf(key: K): string | undefined {
    return this.#entries.get(key)?.owner;
  }

  override resize(): void {
    super.resize();
    this.#orderedFrom = this.share / 2;
  }

  override shrink(most: number): boolean {
    if (!this.#evicts) return false;
    for (let left = most; left > 0; left -= 1) {
      const top = this.#holdings.greediest;
      if (top === undefined || (this.size <= this.max && this.sizeOf(top) <= this.share)) return false;
      this.#evictFrom(top);
    }
    return true;
  }

  /**
   * Returns false when the entry is refused. An existing key keeps its place; with another owner it moves to that
   * owner, if that one has room.
   */
  set(owner: string, key: K, value: V): boolean {
    const known = this.#entries.get(key);
    if (known?.owner === owner) {
      known.value = value;
      return true;
    }
    if (known) {
      if (!this.#evicts && this.sizeOf(owner) >= this.share) return this.#refuse();
      this.#remove(known);
    }
    if (!this.#makeRoom(owner)) return this.#refuse();
    const entry: Entry<K, V> = { key, owner, value, older: undefined, newer: undefined };
    let order = this.#orders.get(owner);
    if (order === undefined) {
      order = new UseOrder();
      this.#orders.set(owner, order);
    }
    order.append(entry);
    this.#entries.set(key, entry);
    this.#holdings.set(owner, this.sizeOf(owner) + 1);
    this.mark();
    return true;
  }

  delete(key: K): boolean {
    const entry = this.#entries.get(key);
    if (entry) this.#remove(entry);
    return entry !== undefined;
  }

  clear(): void {
    this.#entries.clear();
    this.#orders.clear();
    this.#holdings.clear();
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

  #refuse(): false {
    this.overflowed += 1;
    return false;
  }

  #makeRoom(owner: string): boolean {
    const held = this.sizeOf(owner);
    const { max, share } = this;
    if (!this.#evicts) return this.hasRoom(owner);
    if (held >= share) return this.#evictFrom(owner);
    if (this.size < max) return true;
    const top = this.#holdings.greediest;
    // If both hold the same amount, the owner that wants more gives way.
    return this.#evictFrom(top === undefined || held >= this.sizeOf(top) ? owner : top);
  }

  #evictFrom(owner: string): boolean {
    const entry = this.#orders.get(owner)?.oldest;
    if (entry === undefined) return false;
    this.overflowed += 1;
    this.#remove(entry);
    this.#evicted?.(entry.key, entry.value);
    return true;
  }

  #remove(entry: Entry<K, V>): void {
    const { owner } = entry;
    const order = this.#orders.get(owner);
    order?.remove(entry);
    if (order?.oldest === undefined) this.#orders.delete(owner);
    this.#entries.delete(entry.key);
    this.#holdings.set(owner, this.sizeOf(owner) - 1);
  }
}

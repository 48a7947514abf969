/**
 * How much each owner of a container holds (`shares.ts`), and who holds most. Every change is O(1).
 */

/**
 * Owners by the amount they hold. A holding that changes moves between two buckets; the highest has the largest holder.
 */
export class Holdings {
  readonly #sizes = new Map<string, number>(); // bounded by: the container's max; every owner holds something
  readonly #buckets = new Map<number, Set<string>>(); // bounded by: the owners
  readonly #bucketOf: (size: number) => number;
  #top = 0;

  constructor(bucketOf: (size: number) => number) {
    this.#bucketOf = bucketOf;
  }

  get owners(): number {
    return this.#sizes.size;
  }

  of(owner: string): number {
    return this.#sizes.get(owner) ?? 0;
  }

  /**
   * An owner that holds as much as any other, to the precision of the buckets; undefined when nobody holds anything.
   */
  get greediest(): string | undefined {
    return this.#buckets.get(this.#top)?.values().next().value;
  }

  /** The amount that this owner holds. */
  get most(): number {
    const owner = this.greediest;
    return owner === undefined ? 0 : this.of(owner);
  }

  set(owner: string, size: number): void {
    const before = this.#bucketOf(this.of(owner));
    const after = this.#bucketOf(size);
    if (size <= 0) this.#sizes.delete(owner);
    else this.#sizes.set(owner, size);
    if (before === after) return;
    const left = this.#buckets.get(before);
    left?.delete(owner);
    if (left?.size === 0) this.#buckets.delete(before);
    if (after > 0) {
      const joined = this.#buckets.get(after);
      if (joined) joined.add(owner);
      else this.#buckets.set(after, new Set([owner]));
      this.#top = Math.max(this.#top, after);
    }
    // One step for a count; at most 53 for bytes, whose buckets are powers of two.
    while (this.#top > 0 && !this.#buckets.has(this.#top)) this.#top -= 1;
  }

  clear(): void {
    this.#sizes.clear();
    this.#buckets.clear();
    this.#top = 0;
  }
}

/** Returns the bucket of a size in bytes: sizes that differ by less than a factor of two may share one. */
export function powerOfTwo(size: number): number {
  return size <= 0 ? 0 : Math.floor(Math.log2(size)) + 1;
}

/**
 * How much each owner of a container holds (`shares.ts`), and who holds most. Every change is O(1).
 */

interface Holder {
  readonly owner: string;
  size: number;
  /** The place in its bucket. */
  index: number;
}

/**
 * Owners by the amount they hold. A holding that changes moves between two buckets; the highest has the largest holder.
 * A bucket is a dense array: the first value of a `Set` is not O(1), since its iterator steps over deleted entries.
 */
export class Holdings {
  readonly #holders = new Map<string, Holder>(); // bounded by: the container's max; every owner holds something
  readonly #buckets = new Map<number, Holder[]>(); // bounded by: the owners
  readonly #bucketOf: (size: number) => number;
  #top = 0;

  constructor(bucketOf: (size: number) => number) {
    this.#bucketOf = bucketOf;
  }

  get owners(): number {
    return this.#holders.size;
  }

  of(owner: string): number {
    return this.#holders.get(owner)?.size ?? 0;
  }

  /**
   * An owner that holds as much as any other, to the precision of the buckets; undefined when nobody holds anything.
   */
  get greediest(): string | undefined {
    return this.#buckets.get(this.#top)?.[0]?.owner;
  }

  /** The amount that this owner holds. */
  get most(): number {
    const owner = this.greediest;
    return owner === undefined ? 0 : this.of(owner);
  }

  set(owner: string, size: number): void {
    const holder = this.#holders.get(owner) ?? { owner, size: 0, index: -1 };
    const before = this.#bucketOf(holder.size);
    const after = this.#bucketOf(size);
    holder.size = size;
    if (size <= 0) this.#holders.delete(owner);
    else this.#holders.set(owner, holder);
    if (before === after) return;
    if (before > 0) this.#leave(before, holder);
    if (after > 0) this.#join(after, holder);
    // One step for a count; at most 53 for bytes, whose buckets are powers of two.
    while (this.#top > 0 && !this.#buckets.has(this.#top)) this.#top -= 1;
  }

  clear(): void {
    this.#holders.clear();
    this.#buckets.clear();
    this.#top = 0;
  }

  #leave(bucket: number, holder: Holder): void {
    const holders = this.#buckets.get(bucket) as Holder[];
    const last = holders.pop() as Holder;
    if (last !== holder) {
      holders[holder.index] = last;
      last.index = holder.index;
    }
    if (holders.length === 0) this.#buckets.delete(bucket);
  }

  #join(bucket: number, holder: Holder): void {
    const holders = this.#buckets.get(bucket);
    holder.index = holders?.length ?? 0;
    if (holders) holders.push(holder);
    else this.#buckets.set(bucket, [holder]);
    this.#top = Math.max(this.#top, bucket);
  }
}

/** Returns the bucket of a size in bytes: sizes that differ by less than a factor of two may share one. */
export function powerOfTwo(size: number): number {
  return size <= 0 ? 0 : Math.floor(Math.log2(size)) + 1;
}

/**
 * A queue whose owners take turns, so that a flood of one owner delays only itself.
 * Guarantees: an owner's items stay in order; when the queue is full, the owner with most items loses its newest.
 */

interface OwnerQueue<T> {
  readonly owner: string;
  readonly items: T[]; // bounded by: `most` of push
}

export class FairQueue<T> {
  readonly #ownerOf: (item: T) => string;
  /** In order of their turns; no list is empty. */
  readonly #queues = new Map<string, OwnerQueue<T>>(); // bounded by: `most` of push
  #size = 0;

  constructor(ownerOf: (item: T) => string) {
    this.#ownerOf = ownerOf;
  }

  get size(): number {
    return this.#size;
  }

  /**
   * Adds an item. Returns the item that has no place because `most` are waiting: this one, or another owner's newest.
   */
  push(item: T, most: number): T | undefined {
    const owner = this.#ownerOf(item);
    if (this.#size < most) {
      this.#queue(owner).items.push(item);
      this.#size += 1;
      return undefined;
    }
    const own = this.#queues.get(owner)?.items.length ?? 0;
    let longest: OwnerQueue<T> | undefined;
    for (const queue of this.#queues.values())
      if (queue.items.length > (longest?.items.length ?? own + 1)) longest = queue;
    const newest = longest?.items.pop();
    if (newest === undefined) return item;
    this.#queue(owner).items.push(item);
    return newest;
  }

  /** Puts an item back in front of all others. */
  putBack(item: T): void {
    const own = this.#queue(this.#ownerOf(item));
    own.items.unshift(item);
    this.#size += 1;
    const others = [...this.#queues.values()].filter((queue) => queue !== own);
    this.#queues.clear();
    for (const queue of [own, ...others]) this.#queues.set(queue.owner, queue);
  }

  /** Takes the next item of the owner whose turn it is. */
  shift(): T | undefined {
    const [queue] = this.#queues.values();
    if (!queue) return undefined;
    const item = queue.items.shift();
    this.#queues.delete(queue.owner);
    if (queue.items.length > 0) this.#queues.set(queue.owner, queue);
    this.#size -= 1;
    return item;
  }

  /** Removes and returns, for each owner, the items before the first one that does not match. */
  takeWhile(matches: (item: T) => boolean): T[] {
    const taken: T[] = []; // bounded by: `most` of push
    for (const [owner, { items }] of this.#queues) {
      const end = items.findIndex((item) => !matches(item));
      taken.push(...items.splice(0, end < 0 ? items.length : end));
      if (items.length === 0) this.#queues.delete(owner);
    }
    this.#size -= taken.length;
    return taken;
  }

  #queue(owner: string): OwnerQueue<T> {
    let queue = this.#queues.get(owner);
    if (!queue) {
      queue = { owner, items: [] };
      this.#queues.set(owner, queue);
    }
    return queue;
  }
}

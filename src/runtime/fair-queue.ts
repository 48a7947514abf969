/**
 * A queue whose owners take turns, so that a flood of one owner delays only itself.
 * Guarantees: an owner's items stay in order; when the queue is full, the owner with most items loses its newest.
 */

interface Lane<T> {
  readonly owner: string;
  readonly items: T[]; // bounded by: `most` of push
}

export class FairQueue<T> {
  readonly #ownerOf: (item: T) => string;
  /** In order of their turns; no list is empty. */
  readonly #sessionConnections = new Map<string, Lane<T>>(); // bounded by: `most` of push
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
      this.#lane(owner).items.push(item);
      this.#size += 1;
      return undefined;
    }
    const own = this.#sessionConnections.get(owner)?.items.length ?? 0;
    let longest: Lane<T> | undefined;
    for (const lane of this.#sessionConnections.values())
      if (lane.items.length > (longest?.items.length ?? own + 1)) longest = lane;
    const newest = longest?.items.pop();
    if (newest === undefined) return item;
    this.#lane(owner).items.push(item);
    return newest;
  }

  /** Puts an item back in front of all others. */
  putBack(item: T): void {
    const own = this.#lane(this.#ownerOf(item));
    own.items.unshift(item);
    this.#size += 1;
    const others = [...this.#sessionConnections.values()].filter((lane) => lane !== own);
    this.#sessionConnections.clear();
    for (const lane of [own, ...others]) this.#sessionConnections.set(lane.owner, lane);
  }

  /** Takes the next item of the owner whose turn it is. */
  shift(): T | undefined {
    const [lane] = this.#sessionConnections.values();
    if (!lane) return undefined;
    const item = lane.items.shift();
    this.#sessionConnections.delete(lane.owner);
    if (lane.items.length > 0) this.#sessionConnections.set(lane.owner, lane);
    this.#size -= 1;
    return item;
  }

  /** Removes and returns, for each owner, the items before the first one that does not match. */
  takeWhile(matches: (item: T) => boolean): T[] {
    const taken: T[] = []; // bounded by: `most` of push
    for (const [owner, { items }] of this.#sessionConnections) {
      const end = items.findIndex((item) => !matches(item));
      taken.push(...items.splice(0, end < 0 ? items.length : end));
      if (items.length === 0) this.#sessionConnections.delete(owner);
    }
    this.#size -= taken.length;
    return taken;
  }

  #lane(owner: string): Lane<T> {
    let lane = this.#sessionConnections.get(owner);
    if (!lane) {
      lane = { owner, items: [] };
      this.#sessionConnections.set(owner, lane);
    }
    return lane;
  }
}

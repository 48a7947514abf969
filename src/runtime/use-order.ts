/**
 * Entries of a map in order of use, as a linked list. A `Map` alone cannot say which entry is the oldest in O(1): its
 * iterator steps over all entries deleted since the last rehash.
 */

/** An entry that knows its neighbours; an entry is in at most one list. */
export interface Linked<E> {
  older: E | undefined;
  newer: E | undefined;
}

export class UseOrder<E extends Linked<E>> {
  oldest: E | undefined;
  #newest: E | undefined;

  /** Adds an entry as the most recently used. */
  append(entry: E): void {
    entry.older = this.#newest;
    entry.newer = undefined;
    if (this.#newest) this.#newest.newer = entry;
    else this.oldest = entry;
    this.#newest = entry;
  }

  remove(entry: E): void {
    if (entry.older) entry.older.newer = entry.newer;
    else this.oldest = entry.newer;
    if (entry.newer) entry.newer.older = entry.older;
    else this.#newest = entry.older;
  }

  /** Marks an entry of the list as the most recently used. */
  touch(entry: E): void {
    if (entry.newer === undefined) return;
    this.remove(entry);
    this.append(entry);
  }

  clear(): void {
    this.oldest = undefined;
    this.#newest = undefined;
  }
}

/**
 * The table of container limits (GET /api/ceilings), and the base class of every container in it.
 */

export type OverflowRule = 'refuse' | 'drop-oldest' | 'disconnect';

export interface ContainerLimitRow {
  readonly name: string;
  readonly size: number;
  readonly max: number;
  /** Most that one owner may hold; absent when the container does not count owners. */
  readonly share?: number;
  /** Highest size so far. */
  readonly peak: number;
  readonly rule: OverflowRule;
  /** How often the overflow rule was applied. */
  readonly overflowed: number;
}

/**
 * A maximum: a figure, or a function that reads it from the limits in force. A function is called when the container
 * is created and when the limits have changed, never on the way of a request.
 */
export type MaxSize = number | (() => number);

/** Entries that are dropped in one step when containers shrink. */
const DROPPED_PER_STEP = 64;

/** The table of limits: every capped container of a process. */
export class ContainerLimits {
  // bounded by: the containers of this process; each leaves when it is put away
  readonly #containers = new Set<Capped>();

  // bounded by: the bulkheads of this process, and one for its servers
  readonly #followers = new Set<() => void>();

  /** Calls `follower` after each resize, for what hands out places that are in no container. Returns its removal. */
  onResize(follower: () => void): () => void {
    this.#followers.add(follower);
    return () => this.#followers.delete(follower);
  }

  /** Adds a container to the table; returns a function that removes it. */
  add(container: Capped): () => void {
    this.#containers.add(container);
    return () => this.#containers.delete(container);
  }

  /** Returns one row for each name, sorted by name; containers of the same name are summed. */
  table(): ContainerLimitRow[] {
    const byName = new Map<string, ContainerLimitRow>(); // bounded by: names of containers in the code
    for (const container of this.#containers) {
      const row = container.row();
      const sum = byName.get(row.name);
      byName.set(row.name, sum ? addRows(sum, row) : row);
    }
    return [...byName.values()].sort((a, b) => a.name.localeCompare(b.name));
  }

  /** Gives every container the maximum that is in force now. Drops nothing; `shrinkSteps` does. */
  resize(): void {
    for (const container of this.#containers) container.resize();
    for (const follower of this.#followers) follower();
  }

  /**
   * Drops, a few in each step, what is above its maximum in the containers whose rule drops entries. A container that
   * refuses goes on refusing until it has shrunk by itself.
   */
  *shrinkSteps(): Generator<void, undefined> {
    for (const container of [...this.#containers]) {
      while (container.shrink(DROPPED_PER_STEP)) yield;
    }
    return undefined;
  }
}

function addRows(a: ContainerLimitRow, b: ContainerLimitRow): ContainerLimitRow {
  return {
    ...a,
    size: a.size + b.size,
    max: a.max + b.max,
    ...(a.share === undefined ? {} : { share: a.share + (b.share ?? 0) }),
    peak: Math.max(a.peak, b.peak),
    overflowed: a.overflowed + b.overflowed,
  };
}

const read = (max: MaxSize): number => (typeof max === 'number' ? max : max());

/** Base class of every container with a limit. */
export abstract class Capped implements Disposable {
  readonly name: string;
  readonly #rule: OverflowRule;
  readonly #leave: () => void;
  readonly #maxSize: MaxSize;
  readonly #shareSize: MaxSize | undefined;
  #max: number;
  #share: number;
  protected peak = 0;
  protected overflowed = 0;

  constructor(name: string, max: MaxSize, rule: OverflowRule, ceilings: ContainerLimits, share?: MaxSize) {
    this.name = name;
    this.#rule = rule;
    this.#maxSize = max;
    this.#shareSize = share;
    this.#max = read(max);
    this.#share = Math.min(this.#max, read(share ?? this.#max));
    this.#leave = ceilings.add(this);
  }

  abstract get size(): number;

  get max(): number {
    return this.#max;
  }

  /** Most that one owner may hold, at most `max`. */
  get share(): number {
    return this.#share;
  }

  row(): ContainerLimitRow {
    return {
      name: this.name,
      size: this.size,
      max: this.#max,
      ...(this.#shareSize === undefined ? {} : { share: this.#share }),
      peak: this.peak,
      rule: this.#rule,
      overflowed: this.overflowed,
    };
  }

  /** Reads its maximum and share again. It may hold more than them until `shrink`, or until entries leave. */
  resize(): void {
    this.#max = read(this.#maxSize);
    this.#share = Math.min(this.#max, read(this.#shareSize ?? this.#max));
  }

  /**
   * Drops at most `_most` entries above the maximum, if its rule drops entries. Returns false when nothing was left to
   * drop.
   */
  shrink(_most: number): boolean {
    return false;
  }

  protected mark(): void {
    const size = this.size;
    if (size > this.peak) this.peak = size;
  }

  /** Removes the container from the table of limits. */
  [Symbol.dispose](): void {
    this.#leave();
  }
}

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

/** The table of limits: every capped container of a process. */
export class ContainerLimits {
  readonly #rows = new Set<() => ContainerLimitRow>(); // bounded by: the containers of this process; each leaves when it is put away

  /** Adds a container to the table; returns a function that removes it. */
  add(read: () => ContainerLimitRow): () => void {
    this.#rows.add(read);
    return () => this.#rows.delete(read);
  }

  /** Returns one row for each name, sorted by name; containers of the same name are summed. */
  table(): ContainerLimitRow[] {
    const byName = new Map<string, ContainerLimitRow>(); // bounded by: names of containers in the code
    for (const read of this.#rows) {
      const row = read();
      const sum = byName.get(row.name);
      byName.set(row.name, sum ? addRows(sum, row) : row);
    }
    return [...byName.values()].sort((a, b) => a.name.localeCompare(b.name));
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

/** Base class of every container with a limit. */
export abstract class Capped implements Disposable {
  readonly name: string;
  readonly max: number;
  readonly #rule: OverflowRule;
  readonly #leave: () => void;
  protected peak = 0;
  protected overflowed = 0;

  constructor(name: string, max: number, rule: OverflowRule, ceilings: ContainerLimits, share?: number) {
    this.name = name;
    this.max = max;
    this.#rule = rule;
    this.#leave = ceilings.add(() => ({
      name,
      size: this.size,
      max,
      ...(share === undefined ? {} : { share }),
      peak: this.peak,
      rule: this.#rule,
      overflowed: this.overflowed,
    }));
  }

  abstract get size(): number;

  protected mark(): void {
    const size = this.size;
    if (size > this.peak) this.peak = size;
  }

  /** Removes the container from the table of limits. */
  [Symbol.dispose](): void {
    this.#leave();
  }
}

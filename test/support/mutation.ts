/**
 * Reproducible mutations of texts (one character a byte): the same seed gives the same texts.
 */

export interface Random {
  /** Returns an integer from 0 to `below` − 1. */
  below(below: number): number;
  pick<T>(list: readonly T[]): T;
}

/** Creates a generator of the xorshift family. */
export function randomFrom(seed: number): Random {
  let state = seed >>> 0 || 1;
  const below = (limit: number): number => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % limit;
  };
  return { below, pick: (list) => list[below(list.length)] as (typeof list)[number] };
}

/**
 * Replaces, inserts, removes, copies or cuts one to four places of `text`; `pieces` are what matters to its readers.
 */
export function mutated(text: string, pieces: readonly string[], random: Random, mostBytes = 4096): string {
  let out = text;
  for (let left = random.below(4); left >= 0; left -= 1) {
    const at = random.below(out.length + 1);
    const length = random.below(4) === 0 ? random.below(24) : random.below(2);
    const copied =
      random.below(5) === 0
        ? out.slice(random.below(out.length + 1), random.below(out.length + 1))
        : random.pick(pieces);
    const put = random.below(6) === 0 ? '' : copied;
    out = `${out.slice(0, at)}${put}${out.slice(at + length)}`.slice(0, mostBytes);
  }
  return out;
}

/**
 * Finds the name that a client probably meant by an unknown one.
 * Guarantees: limited time for any names: at most `MAX_CANDIDATES` are compared, with `MAX_STEPS` of work: 1 ms, or
 * 3 ms beyond Latin letters.
 */

/** A known name: exposed, and native. */
export interface Candidate {
  readonly exposed: string;
  readonly native: string;
}

const MAX_CANDIDATES = 2000;
/** Characters read, and table cells computed, in total. */
const MAX_STEPS = 60_000;
/** Longer names are not compared. */
const MAX_CHARS = 100;
/** A name is close when at most a third of its letters differ. */
const MAX_DISTANCE_DIVISOR = 3;
const MIN_CHARS = 2;

/** Returns the exposed name of the closest candidate; undefined = none is close. Case and punctuation do not count. */
export function closestName(wanted: string, candidates: Iterable<Candidate>): string | undefined {
  const name = normalize(wanted);
  if (name.length < MIN_CHARS || wanted.length > MAX_CHARS) return undefined;
  const budget = { steps: MAX_STEPS };
  let best: { readonly exposed: string; readonly distance: number } | undefined;
  let seen = 0;
  for (const { exposed, native } of candidates) {
    seen += 1;
    if (seen > MAX_CANDIDATES || budget.steps <= 0) break;
    const most = best === undefined ? Math.floor(name.length / MAX_DISTANCE_DIVISOR) : best.distance - 1;
    const distance = Math.min(
      boundedDistance(name, exposed, most, budget),
      boundedDistance(name, native, most, budget),
    );
    if (distance <= most) best = { exposed, distance };
    if (best?.distance === 0) break;
  }
  return best?.exposed;
}

/** Returns a sentence to follow an error about `wanted`, or nothing. */
export function suggestion(wanted: string, closest: string | undefined): string {
  return closest === undefined || closest === wanted ? '' : `. Did you mean ${JSON.stringify(closest)}?`;
}

function normalize(name: string): string {
  return name.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, '');
}

/** Returns the edit distance up to `most`; infinity = more. */
function boundedDistance(name: string, other: string, most: number, budget: { steps: number }): number {
  if (most < 0 || other.length > MAX_CHARS) return Number.POSITIVE_INFINITY;
  budget.steps -= other.length;
  const letters = normalize(other);
  if (letters === name) return 0;
  if (Math.abs(letters.length - name.length) > most) return Number.POSITIVE_INFINITY;
  budget.steps -= letters.length * name.length;
  return editDistance(name, letters, most);
}

/** Levenshtein distance, row by row; stops when a whole row exceeds `most`. */
function editDistance(a: string, b: string, most: number): number {
  let row = Array.from({ length: b.length + 1 }, (_, at) => at); // bounded by: MAX_CHARS
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    let least = i;
    for (let j = 1; j <= b.length; j += 1) {
      const change = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      const value = Math.min(change, (row[j] as number) + 1, (next[j - 1] as number) + 1);
      next.push(value);
      if (value < least) least = value;
    }
    if (least > most) return Number.POSITIVE_INFINITY;
    row = next;
  }
  return row[b.length] as number;
}

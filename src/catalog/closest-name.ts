/**
 * The name that a client probably meant by one that does not exist.
 * Guarantees: time is bounded whatever the names are: at most `CANDIDATES` of them, and `STEPS` for reading and comparing them: 1 ms, or 3 ms beyond Latin letters.
 */

/** A name that can be meant, and the part of it that the server gave. */
export interface Candidate {
  readonly exposed: string;
  readonly native: string;
}

const CANDIDATES = 2000;
/** Characters that are read, and cells of the tables that compare two names. */
const STEPS = 60_000;
/** Longer names are not compared. */
const CHARS = 100;
/** A name is close when at most a third of its letters are different. */
const PART = 3;
const MIN_CHARS = 2;

/** Returns the exposed name of the closest candidate; undefined = none is close. Case and punctuation do not count. */
export function closestName(wanted: string, candidates: Iterable<Candidate>): string | undefined {
  const name = lettersOf(wanted);
  if (name.length < MIN_CHARS || wanted.length > CHARS) return undefined;
  const budget = { steps: STEPS };
  let best: { readonly exposed: string; readonly distance: number } | undefined;
  let seen = 0;
  for (const { exposed, native } of candidates) {
    seen += 1;
    if (seen > CANDIDATES || budget.steps <= 0) break;
    const most = best === undefined ? Math.floor(name.length / PART) : best.distance - 1;
    const distance = Math.min(distanceOf(name, exposed, most, budget), distanceOf(name, native, most, budget));
    if (distance <= most) best = { exposed, distance };
    if (best?.distance === 0) break;
  }
  return best?.exposed;
}

/** Returns a sentence to follow an error about `wanted`, or nothing. */
export function suggestion(wanted: string, closest: string | undefined): string {
  return closest === undefined || closest === wanted ? '' : `. Did you mean ${JSON.stringify(closest)}?`;
}

function lettersOf(name: string): string {
  return name.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, '');
}

/** The number of letters to be changed, added or taken out, up to `most`; infinite = more. */
function distanceOf(name: string, other: string, most: number, budget: { steps: number }): number {
  if (most < 0 || other.length > CHARS) return Number.POSITIVE_INFINITY;
  budget.steps -= other.length;
  const letters = lettersOf(other);
  if (letters === name) return 0;
  if (Math.abs(letters.length - name.length) > most) return Number.POSITIVE_INFINITY;
  budget.steps -= letters.length * name.length;
  return editDistance(name, letters, most);
}

/** Levenshtein's, row by row; it ends when a whole row is above `most`. */
function editDistance(a: string, b: string, most: number): number {
  let row = Array.from({ length: b.length + 1 }, (_, at) => at); // bounded by: CHARS
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

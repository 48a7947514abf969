/**
 * Replaces configured secrets in texts that leave for the log, the API or a crash report, also in percent, base64, hex and JSON-escaped form.
 * One pass over the text whatever the number of secrets (Wu and Manber, "A fast algorithm for multi-pattern searching", 1994): about a third of
 * the characters are looked at. Bounded: `MAX_PATTERNS` patterns; secrets shorter than 8 characters are not known.
 */
const SHORTEST = 8;
const BLOCK = 3;
const TABLE = 0x10000;
const MAX_PATTERNS = 60_000;
/** A longer secret is known by its pieces, so that a part of it is masked too. */
const PIECE = 48;
/** Characters on either side of a cut that may be a part of a secret: the longest pattern (`PIECE` characters, percent-encoded). */
export const CUT_CHARS = PIECE * 12;
const HIDDEN = '***';

export class SecretMask {
  #shift: Uint8Array | undefined;
  #buckets: ReadonlyMap<number, readonly string[]> = new Map(); // bounded by: MAX_PATTERNS
  #known = '';

  /** Number of patterns that are looked for. */
  size = 0;

  /** Replaces the secrets that are known. Cheap when they are the same as before. */
  use(secrets: Iterable<string>): void {
    const all = [...new Set(secrets)].filter((one) => one.length >= SHORTEST).sort();
    const key = all.join('\n');
    if (key === this.#known) return;
    this.#known = key;
    this.#build(patternsFor(all));
  }

  /** Returns the text with every known secret as `***`. Never throws. */
  mask(text: string): string {
    const shift = this.#shift;
    if (shift === undefined || text.length < SHORTEST) return text;
    let out = '';
    let copied = 0;
    let covered = 0;
    for (let at = SHORTEST - 1; at < text.length; ) {
      const hash = blockHash(text, at);
      const skip = shift[hash] as number;
      if (skip > 0) {
        at += skip;
        continue;
      }
      const start = at - SHORTEST + 1;
      const end = start + this.#lengthAt(text, start, hash);
      if (end > start) {
        // Secrets that overlap or touch become one mark.
        if (start > covered || covered === 0) out += text.slice(copied, start) + HIDDEN;
        covered = Math.max(covered, end);
        copied = covered;
      }
      at += 1;
    }
    return copied === 0 ? text : out + text.slice(copied);
  }

  #lengthAt(text: string, start: number, hash: number): number {
    let longest = 0;
    for (const pattern of this.#buckets.get(hash) ?? [])
      if (pattern.length > longest && text.startsWith(pattern, start)) longest = pattern.length;
    return longest;
  }

  #build(patterns: ReadonlySet<string>): void {
    this.size = patterns.size;
    if (patterns.size === 0) {
      this.#shift = undefined;
      return;
    }
    const shift = new Uint8Array(TABLE).fill(SHORTEST - BLOCK + 1);
    const buckets = new Map<number, string[]>(); // bounded by: MAX_PATTERNS
    for (const pattern of patterns) {
      for (let end = BLOCK - 1; end < SHORTEST; end += 1) {
        const hash = blockHash(pattern, end);
        shift[hash] = Math.min(shift[hash] as number, SHORTEST - 1 - end);
      }
      const last = blockHash(pattern, SHORTEST - 1);
      const bucket = buckets.get(last);
      if (bucket) bucket.push(pattern);
      else buckets.set(last, [pattern]);
    }
    this.#shift = shift;
    this.#buckets = buckets;
  }
}

function blockHash(text: string, end: number): number {
  return ((text.charCodeAt(end - 2) * 31 + text.charCodeAt(end - 1)) * 31 + text.charCodeAt(end)) & (TABLE - 1);
}

function patternsFor(secrets: readonly string[]): ReadonlySet<string> {
  const patterns = new Set<string>(); // bounded by: MAX_PATTERNS
  for (const secret of secrets) {
    for (const piece of piecesOf(secret)) {
      if (patterns.size >= MAX_PATTERNS) return patterns;
      for (const form of formsOf(piece)) if (form.length >= SHORTEST) patterns.add(form);
    }
  }
  return patterns;
}

/** Lines, in pieces of `PIECE` characters; the last piece overlaps the one before, so that none is too short. */
function piecesOf(secret: string): string[] {
  return secret.split(/[\r\n]+/).flatMap((line) => {
    if (line.length < SHORTEST) return [];
    if (line.length <= PIECE) return [line];
    const starts = Array.from({ length: Math.floor(line.length / PIECE) }, (_, index) => index * PIECE);
    return [...starts, line.length - PIECE].map((start) => line.slice(start, start + PIECE));
  });
}

function formsOf(text: string): string[] {
  const bytes = Buffer.from(text.toWellFormed());
  const percent = encodeURIComponent(text.toWellFormed());
  const everyByte = bytes.toString('hex').replace(/../g, '%$&');
  return [
    text,
    JSON.stringify(text).slice(1, -1),
    percent,
    percent.replace(/%../g, (code) => code.toLowerCase()),
    percent.replaceAll('%20', '+'),
    everyByte,
    everyByte.toUpperCase(),
    bytes.toString('hex'),
    bytes.toString('hex').toUpperCase(),
    ...[0, 1, 2].flatMap((offset) => base64At(bytes, offset)),
  ];
}

/** The characters of base64 that depend on these bytes alone, when `offset` other bytes stand before them; both alphabets. */
function base64At(bytes: Buffer, offset: number): string[] {
  const bits = (offset + bytes.length) * 8;
  const coded = Buffer.concat([Buffer.alloc(offset), bytes]).toString('base64');
  const own = coded.slice(Math.ceil((offset * 8) / 6), Math.floor(bits / 6));
  return [own, own.replaceAll('+', '-').replaceAll('/', '_')];
}

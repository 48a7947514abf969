/**
 * Replaces configured secrets in texts for the log, the API or a crash report, also in percent, base64, hex and
 * JSON-escaped form.
 * Bounds: `MAX_PATTERNS` patterns of 8 characters or more; one pass, which reads a third of the characters whatever the
 * number of secrets. Source: Wu and Manber, "A fast algorithm for multi-pattern searching", 1994.
 */
const SHORTEST = 8;
const BLOCK = 3;
const TABLE = 0x10000;
const MAX_PATTERNS = 60_000;
/** A longer secret is split into pieces of this length, so that a part of it is masked too. */
const PIECE = 48;
/**
 * Characters on either side of a cut that may be a part of a secret: the longest pattern (`PIECE` characters,
 * percent-encoded).
 */
export const CUT_CHARS = PIECE * 12;
const HIDDEN = '***';

export class SecretMask {
  #shift: Uint8Array | undefined;
  #buckets: ReadonlyMap<number, readonly string[]> = new Map(); // bounded by: MAX_PATTERNS
  #known = '';

  /** Number of patterns. */
  size = 0;

  /** Sets the known secrets. Costs little when they have not changed. */
  use(secrets: Iterable<string>): void {
    const all = [...new Set(secrets)].filter((one) => one.length >= SHORTEST).sort();
    const key = all.join('\n');
    if (key === this.#known) return;
    this.#known = key;
    this.#build(patternsFor(all));
  }

  /** Returns the text with each known secret replaced by `***`. Never throws. */
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
        // Secrets that overlap or touch are replaced once.
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

/**
 * Returns the lines of a secret in pieces of `PIECE` characters; the last piece overlaps the one before, so that none
 * is too short.
 */
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

/**
 * Returns the base64 characters that depend on these bytes alone when `offset` other bytes precede them, in both
 * alphabets.
 */
function base64At(bytes: Buffer, offset: number): string[] {
  const bits = (offset + bytes.length) * 8;
  const coded = Buffer.concat([Buffer.alloc(offset), bytes]).toString('base64');
  const own = coded.slice(Math.ceil((offset * 8) / 6), Math.floor(bits / 6));
  return [own, own.replaceAll('+', '-').replaceAll('/', '_')];
}

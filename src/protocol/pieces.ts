/**
 * Buffers the bytes of an unfinished line or event. Its owner enforces the limit by `length`. Large pieces are kept by
 * reference: do not modify them after adding them.
 * Guarantees: linear time for any piece sizes; memory in proportion to the bytes even when they arrive one at a time
 * (one object per byte costs 200 times its size, measured); adjacent pieces of one buffer are returned without a copy;
 * long content can be assembled in steps, because fresh memory costs up to 15 µs per page (8 MB at once may take 30 ms,
 * measured).
 */

/** Pieces of at least this size are kept as they are; smaller ones are copied into a page. */
const LARGE_BYTES = 16 * 1024;
const MIN_PAGE_BYTES = 4 * 1024;
const MAX_PAGE_BYTES = 64 * 1024;
/** Bytes that are copied in one step: 1 ms where memory is slow. */
const STEP_BYTES = 256 * 1024;
const NOTHING = Buffer.alloc(0);

export class Pieces {
  #pieces: Buffer[] = []; // bounded by: length / MIN_PAGE_BYTES
  #page: Buffer | undefined;
  #used = 0;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  add(piece: Buffer): void {
    if (this.#extend(piece)) return;
    const isFirst = this.#length === 0 && this.#pieces.length === 0;
    this.#length += piece.length;
    if (isFirst || piece.length >= LARGE_BYTES) {
      this.#closePage();
      this.#pieces.push(piece);
      return;
    }
    if (!this.#page || this.#page.length - this.#used < piece.length) {
      this.#closePage();
      this.#page = Buffer.allocUnsafeSlow(Math.min(MAX_PAGE_BYTES, Math.max(MIN_PAGE_BYTES, this.#length)));
    }
    this.#used += piece.copy(this.#page, this.#used);
  }

  /** Returns everything followed by `last` in one buffer, and empties this object. */
  take(last: Buffer = NOTHING): Buffer {
    if (this.#pieces.length === 0 && !this.#page) return last;
    const pieces = this.#taken(last);
    return pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces);
  }

  /** Works like `take` in steps of a few milliseconds; the object is empty when this returns. */
  takeSteps(last: Buffer = NOTHING): Generator<void, Buffer> {
    return joinSteps(this.#taken(last));
  }

  /** Empties the object without assembling anything: content that is too large must not be copied once more. */
  drop(): void {
    this.#pieces = [];
    this.#page = undefined;
    this.#used = 0;
    this.#length = 0;
  }

  #taken(last: Buffer): readonly Buffer[] {
    if (!this.#extend(last)) {
      this.#closePage();
      if (last.length > 0) this.#pieces.push(last);
    }
    const pieces = this.#pieces;
    this.#pieces = [];
    this.#length = 0;
    return pieces;
  }

  /** Extends the last piece by an adjacent one of the same buffer. Returns false when it cannot. */
  #extend(piece: Buffer): boolean {
    const before = this.#page ? undefined : this.#pieces.at(-1);
    if (before === undefined || before.buffer !== piece.buffer) return false;
    if (before.byteOffset + before.length !== piece.byteOffset || piece.length === 0) return false;
    this.#pieces[this.#pieces.length - 1] = Buffer.from(before.buffer, before.byteOffset, before.length + piece.length);
    this.#length += piece.length;
    return true;
  }

  #closePage(): void {
    if (!this.#page) return;
    const full = this.#page.subarray(0, this.#used);
    // A page that stayed mostly empty is copied, so that its few bytes do not keep all of it in memory.
    this.#pieces.push(this.#used * 2 < this.#page.length ? Buffer.from(full) : full);
    this.#page = undefined;
    this.#used = 0;
  }
}

function* joinSteps(pieces: readonly Buffer[]): Generator<void, Buffer> {
  if (pieces.length <= 1) return pieces[0] ?? NOTHING;
  const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
  if (length <= STEP_BYTES) return Buffer.concat(pieces, length);
  const whole = Buffer.allocUnsafeSlow(length);
  let at = 0;
  let stop = STEP_BYTES;
  for (const piece of pieces)
    for (let from = 0; from < piece.length; ) {
      const copied = piece.copy(whole, at, from, from + STEP_BYTES);
      from += copied;
      at += copied;
      if (at < stop) continue;
      yield;
      stop = at + STEP_BYTES;
    }
  return whole;
}

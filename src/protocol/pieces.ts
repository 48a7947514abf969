/**
 * The bytes of something unfinished: a line or an event whose end has not come yet.
 * Promises: linear time whatever the pieces are; memory in proportion to the bytes, also when they come one at a time (an object of its own for
 * each byte costs 200 times its size, measured); what came in one piece, or in pieces that lie side by side in one buffer, is given back uncopied;
 * long contents can be put together in steps: fresh memory costs up to 15 µs a page, so that 8 MB at once may take 30 ms (measured).
 * Does not: know a ceiling; its owner looks at `length`. Large pieces are kept by reference: a caller must not write into them again.
 */

/** Pieces from this size on are kept as they are; smaller ones are copied together. */
const LARGE_BYTES = 16 * 1024;
const MIN_PAGE_BYTES = 4 * 1024;
const MAX_PAGE_BYTES = 64 * 1024;
/** Copied in one step: 1 ms where memory is slow. */
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

  /** All of it and `last` in one buffer; empty afterwards. */
  take(last: Buffer = NOTHING): Buffer {
    if (this.#pieces.length === 0 && !this.#page) return last;
    const pieces = this.#taken(last);
    return pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces);
  }

  /** The same in steps of some milliseconds; it is empty when this returns. */
  takeSteps(last: Buffer = NOTHING): Generator<void, Buffer> {
    return joinSteps(this.#taken(last));
  }

  /** Empty afterwards, without putting anything together: what is too large must not be copied once more. */
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

  /** Makes the last piece longer by one that lies behind it in the same buffer. False = it does not. */
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
    // A page that stayed mostly empty is not kept for its few bytes.
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

/**
 * The bytes of something unfinished: a line or an event whose end has not come yet.
 * Promises: linear time whatever the pieces are; memory in proportion to the bytes, also when they come one at a time (an object of its own for
 * each byte costs 200 times its size, measured); what came in one piece, or in pieces that lie side by side in one buffer, is given back uncopied;
 * other contents longer than 1 MiB are put together while they come, so that their end costs no long turn of the loop (17 MB in one go: 8 ms).
 * Does not: know a ceiling; its owner looks at `length`. Large pieces are kept by reference: a caller must not write into them again.
 */

/** Pieces from this size on are kept as they are; smaller ones are copied together. */
const LARGE_BYTES = 16 * 1024;
const MIN_PAGE_BYTES = 4 * 1024;
const MAX_PAGE_BYTES = 64 * 1024;
/** Longer contents are copied into one buffer as they come. */
const JOINED_BYTES = 1024 * 1024;
/** A full buffer is replaced by one of so many times its size: 8 MiB are the most that is copied at once. What is not written to takes no memory. */
const GROWTH = 8;
const NOTHING = Buffer.alloc(0);

export class Pieces {
  #pieces: Buffer[] = []; // bounded by: length / MIN_PAGE_BYTES
  #page: Buffer | undefined;
  #used = 0;
  #length = 0;
  readonly #maxBytes: number;
  /** All that has come, when it is longer than JOINED_BYTES. */
  #joined: Buffer | undefined;

  /** `maxBytes` = about the most that its owner lets it hold. */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get length(): number {
    return this.#length;
  }

  add(piece: Buffer): void {
    if (this.#extend(piece)) return;
    if (this.#joined || this.#length + piece.length > JOINED_BYTES) return this.#join(piece);
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
    if (this.#joined) return this.#takeJoined(last);
    if (this.#pieces.length === 0) return last;
    if (this.#extend(last)) return this.take();
    this.#closePage();
    const pieces = this.#pieces;
    const length = this.#length;
    this.#pieces = [];
    this.#length = 0;
    if (pieces.length === 1 && last.length === 0) return pieces[0] as Buffer;
    return Buffer.concat([...pieces, last], length + last.length);
  }

  /** Empty afterwards, without putting anything together: what is too large must not be copied once more. */
  drop(): void {
    this.#pieces = [];
    this.#page = undefined;
    this.#joined = undefined;
    this.#used = 0;
    this.#length = 0;
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

  #join(piece: Buffer): void {
    const length = this.#length + piece.length;
    // What came in one piece stays it.
    if (this.#length === 0) {
      this.#pieces.push(piece);
      this.#length = length;
      return;
    }
    if (!this.#joined || this.#joined.length < length) this.#grow(length);
    piece.copy(this.#joined as Buffer, this.#length);
    this.#length = length;
  }

  #grow(length: number): void {
    const size = Math.max(length, Math.min(length * GROWTH, this.#maxBytes));
    const larger = Buffer.allocUnsafeSlow(size);
    this.#closePage();
    let at = 0;
    for (const piece of this.#joined ? [this.#joined.subarray(0, this.#length)] : this.#pieces)
      at += piece.copy(larger, at);
    this.#pieces = [];
    this.#joined = larger;
  }

  #takeJoined(last: Buffer): Buffer {
    this.#join(last);
    const whole = (this.#joined as Buffer).subarray(0, this.#length);
    this.drop();
    return whole;
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

/**
 * Splits a byte stream into lines.
 * Guarantees: a line longer than `maxBytes` is skipped and counted once, never buffered; the cost is linear in the
 * bytes.
 */
const NEWLINE = 0x0a;

export class LineSplitter {
  readonly #maxBytes: () => number;
  #parts: Buffer[] = []; // bounded by: maxBytes
  #bytes = 0;
  /** Skipping an oversized line until its end. */
  #skips = false;

  constructor(maxBytes: () => number) {
    this.#maxBytes = maxBytes;
  }

  /** Calls `each` with every complete line. Returns how many lines were oversized; they are skipped. */
  push(chunk: Buffer, each: (line: Buffer) => void): number {
    let tooLong = 0;
    let from = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, from)) {
      const piece = chunk.subarray(from, end);
      from = end + 1;
      if (this.#skips) {
        this.#skips = false;
        continue;
      }
      if (this.#bytes + piece.length > this.#maxBytes()) tooLong += 1;
      else if (this.#bytes + piece.length > 0)
        each(this.#parts.length === 0 ? piece : Buffer.concat([...this.#parts.splice(0), piece]));
      this.#drop();
    }
    const rest = chunk.subarray(from);
    if (rest.length === 0 || this.#skips) return tooLong;
    this.#parts.push(rest);
    this.#bytes += rest.length;
    if (this.#bytes <= this.#maxBytes()) return tooLong;
    this.#drop();
    this.#skips = true;
    return tooLong + 1;
  }

  #drop(): void {
    this.#parts = [];
    this.#bytes = 0;
  }
}

/**
 * Bytes to lines.
 * Promises: a line longer than `maxBytes` is reported once, before it is held; joining is linear in the bytes.
 */
const NEWLINE = 0x0a;

export class Lines {
  readonly #maxBytes: number;
  #parts: Buffer[] = []; // bounded by: maxBytes
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Complete lines in `chunk`, handed to `each`. False = a line is too long; the source must be cut. */
  take(chunk: Buffer, each: (line: Buffer) => void): boolean {
    let from = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, from)) {
      if (this.#bytes + end - from > this.#maxBytes) return false;
      const piece = chunk.subarray(from, end);
      const line = this.#parts.length === 0 ? piece : Buffer.concat([...this.#parts, piece]);
      this.#parts = [];
      this.#bytes = 0;
      from = end + 1;
      if (line.length > 0) each(line);
    }
    const rest = chunk.subarray(from);
    if (rest.length > 0) {
      this.#parts.push(rest);
      this.#bytes += rest.length;
    }
    return this.#bytes <= this.#maxBytes;
  }
}

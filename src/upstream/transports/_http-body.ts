/**
 * Collects the body of one answer up to a ceiling.
 * Promises: a body that comes in one piece is not copied; nothing is kept beyond `maxBytes`.
 * Does not: look inside.
 */

export class BodyCollector {
  readonly #maxBytes: number;
  #chunks: Buffer[] = []; // bounded by: maxBytes
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** False = full: as much as fits has been kept. */
  add(chunk: Buffer): boolean {
    const room = this.#maxBytes - this.#bytes;
    const fits = chunk.length <= room;
    if (room > 0) this.#chunks.push(fits ? chunk : chunk.subarray(0, room));
    this.#bytes += Math.min(chunk.length, room);
    return fits;
  }

  take(): Buffer {
    const chunks = this.#chunks;
    this.#chunks = [];
    return chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks, this.#bytes);
  }
}

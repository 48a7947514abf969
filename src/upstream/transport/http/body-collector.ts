/**
 * Collects the body of one answer up to a ceiling.
 * Promises: a body that comes in one piece is not copied; nothing is kept beyond `maxBytes`.
 * Does not: look inside.
 */
import { Pieces } from '../../../protocol/pieces.ts';

export class BodyCollector {
  readonly #maxBytes: number;
  readonly #pieces: Pieces;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
    this.#pieces = new Pieces();
  }

  get length(): number {
    return this.#pieces.length;
  }

  /** False = full: as much as fits has been kept. */
  add(chunk: Buffer): boolean {
    const room = this.#maxBytes - this.#pieces.length;
    const fits = chunk.length <= room;
    if (room > 0) this.#pieces.add(fits ? chunk : chunk.subarray(0, room));
    return fits;
  }

  take(): Buffer {
    return this.#pieces.take();
  }

  /** The same in steps of some milliseconds. */
  takeSteps(): Generator<void, Buffer> {
    return this.#pieces.takeSteps();
  }
}

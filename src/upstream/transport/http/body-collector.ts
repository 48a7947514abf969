/**
 * Collects the body of one response up to a limit.
 * Guarantees: a body in one piece is not copied; nothing is kept beyond `maxBytes`.
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

  /** Returns false when it is full: as much as fits has been kept. */
  add(chunk: Buffer): boolean {
    const room = this.#maxBytes - this.#pieces.length;
    const fits = chunk.length <= room;
    if (room > 0) this.#pieces.add(fits ? chunk : chunk.subarray(0, room));
    return fits;
  }

  take(): Buffer {
    return this.#pieces.take();
  }

  /** Does the same in steps of some milliseconds. */
  takeSteps(): Generator<void, Buffer> {
    return this.#pieces.takeSteps();
  }
}

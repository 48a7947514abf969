/**
 * Finds the frames of a Zstandard body (RFC 8878, section 3.1). A body may have several, and the decoder of Node.js
 * ends after the first.
 * Guarantees: pure; reads headers only, so the cost is a few steps per block; data that is not a frame has no end here,
 * and the decoder refuses it.
 */

/** `short`: more bytes are needed to decide. */
export type FrameStart = 'frame' | 'skippable' | 'short' | 'none';

const MAGIC = [0x28, 0xb5, 0x2f, 0xfd] as const;
/** The first byte is 0x50 to 0x5f. */
const SKIPPABLE = [0x50, 0x2a, 0x4d, 0x18] as const;
const RLE_BLOCK = 1;

/** Returns what begins with these bytes. */
export function frameStart(bytes: Buffer): FrameStart {
  const isLike = (magic: readonly number[], mask: number): boolean =>
    magic.every((byte, at) => at >= bytes.length || ((bytes[at] as number) & (at === 0 ? mask : 0xff)) === byte);
  const kind = isLike(MAGIC, 0xff) ? 'frame' : isLike(SKIPPABLE, 0xf0) ? 'skippable' : 'none';
  return kind !== 'none' && bytes.length < MAGIC.length ? 'short' : kind;
}

/** Size of each field in bytes. */
const FIELDS = { magic: 4, descriptor: 1, length: 4, block: 3, checksum: 4 } as const;
type Field = keyof typeof FIELDS;

export class FrameEnds {
  #field: Field | 'end' = 'magic';
  readonly #bytes: number[] = []; // bounded by: FIELDS
  /** Bytes before the next field. */
  #skip = 0;
  #hasChecksum = false;
  #isLost = false;

  /**
   * Returns the offset after the end of the frame that `piece` begins or continues, or undefined when the frame does
   * not end in it.
   */
  next(piece: Buffer): number | undefined {
    let at = 0;
    for (;;) {
      if (this.#isLost) return undefined;
      const skipped = Math.min(this.#skip, piece.length - at);
      this.#skip -= skipped;
      at += skipped;
      if (this.#skip > 0) return undefined;
      if (this.#field === 'end') {
        this.#field = 'magic';
        return at;
      }
      const missing = FIELDS[this.#field] - this.#bytes.length;
      const came = piece.subarray(at, at + missing);
      this.#bytes.push(...came);
      at += came.length;
      if (came.length < missing) return undefined;
      this.#read(this.#field, Buffer.from(this.#bytes.splice(0)));
    }
  }

  #read(field: Field, bytes: Buffer): void {
    const [first = 0] = bytes;
    if (field === 'magic') {
      const start = frameStart(bytes);
      this.#isLost = start === 'none';
      this.#field = start === 'frame' ? 'descriptor' : 'length';
    } else if (field === 'length') {
      this.#skip = bytes.readUInt32LE();
      this.#field = 'end';
    } else if (field === 'descriptor') {
      const isSingleSegment = (first & 0x20) !== 0;
      const dictionary = [0, 1, 2, 4][first & 3] as number;
      const size = [isSingleSegment ? 1 : 0, 2, 4, 8][first >> 6] as number;
      this.#hasChecksum = (first & 4) !== 0;
      this.#skip = (isSingleSegment ? 0 : 1) + dictionary + size;
      this.#field = 'block';
    } else if (field === 'block') {
      const header = bytes.readUIntLE(0, 3);
      const isLast = (header & 1) === 1;
      this.#skip = ((header >> 1) & 3) === RLE_BLOCK ? 1 : header >> 3;
      if (isLast) this.#field = this.#hasChecksum ? 'checksum' : 'end';
    } else this.#field = 'end';
  }
}

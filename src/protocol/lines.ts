/**
 * Cuts a byte stream into newline-framed messages (stdio).
 * Promises: linear time whatever the chunks are (a 9 MB line in 64 KiB pieces is copied once); a line in one chunk is not copied at all;
 * nothing beyond `maxBytes` of one line is held. Pull interface, so that the reader decides how many lines it takes in one turn.
 */
const NEWLINE = 0x0a;
const RETURN = 0x0d;

export class LineSplitter {
  readonly #maxBytes: number;
  #chunks: Buffer[] = []; // bounded by: maxBytes of an unfinished line plus what was pushed and not yet pulled
  #heldBytes = 0;
  /** Bytes from the start of the first chunk that are known to hold no newline. */
  #searched = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Bytes that wait to be pulled or finished. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** True when an unfinished line is longer than allowed: the stream cannot be saved. */
  get overlong(): boolean {
    return this.#searched > this.#maxBytes;
  }

  push(chunk: Buffer): void {
    if (chunk.length === 0) return;
    this.#chunks.push(chunk);
    this.#heldBytes += chunk.length;
  }

  /** The next whole line without its line end; empty lines are left out. Undefined = none yet. */
  next(): Buffer | undefined {
    for (;;) {
      const line = this.#cut();
      if (line === undefined) return undefined;
      if (line.length > 0) return line;
    }
  }

  #cut(): Buffer | undefined {
    let before = 0;
    for (let at = 0; at < this.#chunks.length; at += 1) {
      const chunk = this.#chunks[at] as Buffer;
      if (before + chunk.length > this.#searched) {
        const newline = chunk.indexOf(NEWLINE, Math.max(0, this.#searched - before));
        if (newline >= 0) return this.#take(at, newline, before + newline);
        this.#searched = before + chunk.length;
      }
      before += chunk.length;
    }
    return undefined;
  }

  #take(at: number, newline: number, length: number): Buffer {
    const chunk = this.#chunks[at] as Buffer;
    const rest = chunk.subarray(newline + 1);
    const line =
      at === 0
        ? chunk.subarray(0, newline)
        : Buffer.concat([...this.#chunks.slice(0, at), chunk.subarray(0, newline)], length);
    this.#chunks = rest.length > 0 ? [rest, ...this.#chunks.slice(at + 1)] : this.#chunks.slice(at + 1);
    this.#heldBytes -= length + 1;
    this.#searched = 0;
    return line[line.length - 1] === RETURN ? line.subarray(0, -1) : line;
  }
}

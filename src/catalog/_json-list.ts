/**
 * Builds JSON arrays and objects from bytes that stay unchanged.
 */
export interface Edit {
  readonly at: number;
  readonly end: number;
  readonly text: string;
}

/** Returns the bytes with each span replaced by its text. */
export function applyEdits(bytes: Buffer, edits: readonly Edit[]): Buffer {
  const parts: Buffer[] = []; // bounded by: edits
  let at = 0;
  for (const edit of edits.toSorted((a, b) => a.at - b.at)) {
    parts.push(bytes.subarray(at, edit.at), Buffer.from(edit.text));
    at = edit.end;
  }
  return Buffer.concat([...parts, bytes.subarray(at)]);
}

const OPEN = Buffer.from('[');
const COMMA = Buffer.from(',');
const CLOSE = Buffer.from(']');

/** Bytes copied in one step: about 1 ms with fresh memory (4 µs a page, measured), otherwise much less. */
const STEP_BYTES = 256 * 1024;

/** Returns a JSON array of these texts, built in steps of about 1 ms. */
export function* joinSteps(items: readonly Buffer[]): Generator<void, Buffer> {
  let length = items.length === 0 ? 2 : items.length + 1;
  for (const item of items) length += item.length;
  const text = Buffer.allocUnsafeSlow(length);
  let at = OPEN.copy(text);
  let stepBytes = 0;
  for (const [index, item] of items.entries()) {
    if (index > 0) at += COMMA.copy(text, at);
    at += item.copy(text, at);
    stepBytes += item.length;
    if (stepBytes < STEP_BYTES) continue;
    stepBytes = 0;
    yield;
  }
  CLOSE.copy(text, at);
  return text;
}

/**
 * JSON arrays and objects put together from bytes that stay as they are.
 */
export interface Edit {
  readonly at: number;
  readonly end: number;
  readonly text: string;
}

/** The bytes with each span replaced by its text. */
export function edited(bytes: Buffer, edits: readonly Edit[]): Buffer {
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

/** A JSON array of these texts. */
export function joinedJson(items: readonly Buffer[]): Buffer {
  const parts: Buffer[] = [OPEN]; // bounded by: items
  for (const [index, item] of items.entries()) {
    if (index > 0) parts.push(COMMA);
    parts.push(item);
  }
  parts.push(CLOSE);
  return Buffer.concat(parts);
}

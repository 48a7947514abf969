/**
 * A large value as JSON text in pieces, so that it can be written over several turns of the event loop: `JSON.stringify` of lists of 4 MB takes 20 ms.
 * Guarantees: the pieces together are what `JSON.stringify` returns, for plain data (no `toJSON`).
 */

/** Characters of a piece, about; a longer text of one element is a piece of its own. */
const PIECE_CHARS = 128 * 1024;
/** Arrays are taken apart down to this depth; a snapshot has its tools at the fourth: snapshot, lists, one list, tools. */
const DEPTH = 4;

/** Yields the text in pieces of about 128 KiB. */
export function* jsonPieces(value: unknown): Generator<string, void> {
  const parts: Part[] = []; // bounded by: the elements of the value
  takeApart(value, DEPTH, parts);
  let text = '';
  for (const part of parts) {
    text += typeof part === 'string' ? part : (JSON.stringify(part.value) ?? 'null');
    if (text.length < PIECE_CHARS) continue;
    yield text;
    text = '';
  }
  if (text !== '') yield text;
}

/** JSON text, or a value that becomes text as a whole. */
type Part = string | { readonly value: unknown };

function takeApart(value: unknown, depth: number, parts: Part[]): void {
  if (Array.isArray(value) && depth > 0) {
    parts.push('[');
    for (const [index, element] of value.entries()) {
      if (index > 0) parts.push(',');
      takeApart(element, depth - 1, parts);
    }
    parts.push(']');
  } else if (depth > 0 && holdsArrays(value)) {
    let before = '{';
    for (const [key, member] of Object.entries(value)) {
      if (member === undefined) continue;
      parts.push(`${before}${JSON.stringify(key)}:`);
      before = ',';
      takeApart(member, depth - 1, parts);
    }
    parts.push('}');
  } else parts.push({ value });
}

function holdsArrays(value: unknown): value is object {
  return typeof value === 'object' && value !== null && Object.values(value).some(Array.isArray);
}

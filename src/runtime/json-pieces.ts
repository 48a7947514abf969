/**
 * Writes a large value as JSON text in pieces, so that the work can be spread over several turns of the event loop:
 * `JSON.stringify` of lists of 4 MB takes 20 ms.
 * Guarantees: the pieces together equal the text of `JSON.stringify`, for plain data (no `toJSON`).
 */

/** Approximate length of a piece in characters; a longer text of one element is a piece of its own. */
const PIECE_CHARS = 128 * 1024;
/** Arrays are split down to this depth; a snapshot has its tools at the fourth: snapshot, lists, one list, tools. */
const DEPTH = 4;

/** Yields the text in pieces of about 128 KiB, each made only when it is requested. */
export function* jsonPieces(value: unknown): Generator<string, void> {
  let text = '';
  for (const part of partsOf(value, DEPTH)) {
    text += part;
    if (text.length < PIECE_CHARS) continue;
    yield text;
    text = '';
  }
  if (text !== '') yield text;
}

/** Yields parts of JSON text: one for each element of an array, down to `depth`. */
function* partsOf(value: unknown, depth: number): Generator<string, void> {
  if (depth === 0 || !holdsArrays(value, depth)) return yield JSON.stringify(value) ?? 'null';
  const isArray = Array.isArray(value);
  let before = isArray ? '[' : '{';
  for (const [key, member] of isArray ? value.entries() : Object.entries(value)) {
    if (!isArray && member === undefined) continue;
    yield isArray ? before : `${before}${JSON.stringify(key)}:`;
    before = ',';
    if (holdsArrays(member, depth - 1)) yield* partsOf(member, depth - 1);
    else yield JSON.stringify(member) ?? 'null';
  }
  yield before === '{' ? '{}' : before === '[' ? '[]' : isArray ? ']' : '}';
}

/** Tells whether the value is an array, or an object that contains one. */
function holdsArrays(value: unknown, depth: number): value is object {
  if (Array.isArray(value)) return depth > 0;
  if (depth <= 0 || typeof value !== 'object' || value === null) return false;
  return Object.values(value).some((member) => Array.isArray(member) || holdsArrays(member, depth - 1));
}

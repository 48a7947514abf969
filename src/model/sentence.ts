/**
 * Ends a text with one full stop, so that texts with and without one can be joined.
 */
const ENDS = '.!?…';

/**
 * Returns the text without trailing blanks and repeated stops, and with one full stop; an empty text stays empty.
 * Linear time.
 */
export function sentence(text: string): string {
  const bare = withoutStop(text);
  if (bare === '') return '';
  const last = text.trimEnd().at(-1) as string;
  return last !== '.' && ENDS.includes(last) ? bare : `${bare}.`;
}

/** Returns the text without trailing blanks and full stops, to be followed by other words. Linear time. */
export function withoutStop(text: string): string {
  let end = text.length;
  while (end > 0 && (text[end - 1] === '.' || text[end - 1] === ' ' || text[end - 1] === '\n')) end -= 1;
  return text.slice(0, end);
}

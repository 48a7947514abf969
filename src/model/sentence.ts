/**
 * Ends a text as a sentence, once, so that texts that end with a full stop and texts that do not can be put together.
 */
const ENDS = '.!?…';

/** Returns the text without blanks and repeated stops at its end, and with one full stop; an empty text stays empty. Linear. */
export function sentence(text: string): string {
  const bare = withoutStop(text);
  if (bare === '') return '';
  const last = text.trimEnd().at(-1) as string;
  return last !== '.' && ENDS.includes(last) ? bare : `${bare}.`;
}

/** Returns the text without blanks and full stops at its end, to be followed by other words. Linear. */
export function withoutStop(text: string): string {
  let end = text.length;
  while (end > 0 && (text[end - 1] === '.' || text[end - 1] === ' ' || text[end - 1] === '\n')) end -= 1;
  return text.slice(0, end);
}

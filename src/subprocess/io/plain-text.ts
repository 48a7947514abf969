/**
 * Makes text of a child safe for terminals and logs: no escape sequences, no control characters, no very long lines.
 * Guarantees: pure functions, linear time, at most `LINE_CHARS` characters for each line.
 */
export const LINE_CHARS = 4096;

/**
 * CSI (colours, cursor), OSC (titles, links; ended by BEL or ST) and two-character escapes. Parameter bytes (0x30–0x3f)
 * and intermediate bytes (0x20–0x2f) must not share a character: with one in common a long run of it takes quadratic
 * time (ECMA-48 §5.4 keeps them apart).
 */
const ESCAPES =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those are looked for
  /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]{0,512}(?:\u0007|\u001b\\)?|[@-Z\\^_()#][0-9A-Za-z]?)/g;
/** Control characters, line and paragraph separators, and the marks that turn the direction of text. */
const CONTROLS = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu;

/**
 * Returns one line without its line end. If a line was rewritten with carriage returns (progress bars), its last state
 * is kept.
 */
export function plainLine(raw: string): string {
  const cut = raw.length > LINE_CHARS * 2 ? raw.slice(0, LINE_CHARS * 2) : raw;
  const plain = cut.replace(ESCAPES, '');
  // Not /\r+$/: it takes quadratic time on a run of carriage returns that is not at the end.
  let end = plain.length;
  while (plain[end - 1] === '\r') end -= 1;
  const last = plain
    .slice(end === 0 ? 0 : plain.lastIndexOf('\r', end - 1) + 1, end)
    .replaceAll('\t', '  ')
    .replace(CONTROLS, '');
  return last.length > LINE_CHARS ? `${last.slice(0, LINE_CHARS)}…` : last;
}

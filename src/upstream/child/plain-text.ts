/**
 * Text of a child made fit for people's terminals and logs: no escape sequences, no control characters, no endless lines.
 * Promises: pure, linear, at most `LINE_CHARS` characters a line.
 */
export const LINE_CHARS = 4096;

const ESC = String.fromCharCode(0x1b);
const BEL = String.fromCharCode(0x07);
/** CSI (colours, cursor), OSC (titles, links; ended by BEL or ST) and two-character escapes. */
const ESCAPES = new RegExp(
  `${ESC}(?:\\[[0-9;?<=>!]*[ -/]*[@-~]|\\][^${BEL}${ESC}]{0,512}(?:${BEL}|${ESC}\\\\)?|[@-Z\\\\^_()#][0-9A-Za-z]?)`,
  'g',
);
/** Control characters, line and paragraph separators, and the marks that turn the direction of text. */
const CONTROLS = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu;

/** One line without its line end. Of a line rewritten with carriage returns (progress bars) the last state is kept. */
export function plainLine(raw: string): string {
  const cut = raw.length > LINE_CHARS * 2 ? raw.slice(0, LINE_CHARS * 2) : raw;
  const plain = cut.replace(ESCAPES, '').replace(/\r+$/, '');
  const last = plain
    .slice(plain.lastIndexOf('\r') + 1)
    .replaceAll('\t', '  ')
    .replace(CONTROLS, '');
  return last.length > LINE_CHARS ? `${last.slice(0, LINE_CHARS)}…` : last;
}

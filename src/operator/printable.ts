/**
 * Makes text safe for a terminal: whatever the command prints passes through here.
 * Guarantees: no control character (C0, C1, DEL), escape sequence or character that turns the direction of text comes out, except line ends, tabs
 * and the few colours that the command itself uses; pure and linear.
 */
import { visible } from '../telemetry/mask.ts';

/** One of the command's own colours, or a character that a terminal would obey. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const OBEYED = /\u001b\[(?:[012]|3[123]|1;3[123])m|\r\n|[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu;

/** Text for a terminal. Control characters become visible (`\\x1b`); CR LF becomes LF. */
export function printable(text: string): string {
  return text.replace(OBEYED, (found) => {
    if (found === '\r\n') return '\n';
    return found.length > 1 || found === '\n' || found === '\t' ? found : escaped(found);
  });
}

/** Text of a server or a file, for a terminal: as `printable`, and without colours. */
export function plain(text: string): string {
  return printable(text.replaceAll('\u001b', '\\x1b'));
}

function escaped(char: string): string {
  const shown = visible(char);
  return shown === char ? `\\x${char.charCodeAt(0).toString(16)}` : shown;
}

/**
 * Makes text safe for a terminal; all output of the command passes through it.
 * Guarantees: removes control characters (C0, C1, DEL), escape sequences and characters that change the text direction,
 * except line ends, tabs and the few colours of the command itself; pure and linear.
 */
import { visible } from '../telemetry/mask.ts';

/** Matches the command's own colours, and characters that a terminal interprets. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const OBEYED = /\u001b\[(?:[012]|3[123]|1;3[123])m|\r\n|[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu;

/** Returns text for a terminal. Control characters become visible (`\\x1b`); CR LF becomes LF. */
export function printable(text: string): string {
  return text.replace(OBEYED, (found) => {
    if (found === '\r\n') return '\n';
    return found.length > 1 || found === '\n' || found === '\t' ? found : escaped(found);
  });
}

/** Works like `printable`, and also removes colours; for text of a server or a file. */
export function plain(text: string): string {
  return printable(text.replaceAll('\u001b', '\\x1b'));
}

function escaped(char: string): string {
  const shown = visible(char);
  return shown === char ? `\\x${char.charCodeAt(0).toString(16)}` : shown;
}

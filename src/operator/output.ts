/**
 * Output of the command: data on stdout, messages on stderr; tables for people, JSON with --json; colours only at a
 * terminal.
 * Guarantees: no control character of a server reaches the terminal (`printable.ts`).
 */
import { printableJson } from '../telemetry/mask.ts';
import { printable } from './printable.ts';

export function print(text: string): void {
  process.stdout.write(`${printable(text)}\n`);
}

export function printMessage(text: string): void {
  process.stderr.write(`${printable(text)}\n`);
}

export function printJson(value: unknown): void {
  print(printableJson(JSON.stringify(value, null, 2)));
}

/** Formats a table with columns as wide as their longest cell; the last one is not padded. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((row) => width(row[column] ?? ''))));
  return all
    .map((row) =>
      row
        .map((cell, column) =>
          column === row.length - 1 ? cell : cell + ' '.repeat((widths[column] ?? 0) - width(cell)),
        )
        .join('  '),
    )
    .map((line, at) => (at === 0 ? paint(line, '1') : line))
    .join('\n');
}

/** Returns the display width: Korean and other wide characters take two columns. */
function width(text: string): number {
  let columns = 0;
  for (const letter of text)
    columns += /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]/u.test(
      letter,
    )
      ? 2
      : 1;
  return columns;
}

export function paint(text: string, code: string, to: NodeJS.WriteStream = process.stdout): string {
  return to.isTTY && process.env.NO_COLOR === undefined ? `\u001b[${code}m${text}\u001b[0m` : text;
}

/** Runs `work`, with a spinner at a terminal when it takes long. */
export async function withProgress<T>(what: string, work: () => Promise<T>): Promise<T> {
  if (!process.stderr.isTTY) return work();
  const { spinner } = await import('@clack/prompts');
  const shown = spinner({ output: process.stderr });
  const title = printable(what);
  shown.start(title);
  try {
    const result = await work();
    shown.stop(title);
    return result;
  } catch (fault) {
    shown.error(title);
    throw fault;
  }
}

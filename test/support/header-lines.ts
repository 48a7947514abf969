/**
 * Requests whose header lines a test writes itself: repeated, merged, misspelled. `Connection: close` ends each
 * exchange.
 */
import { type RawAnswer, rawExchange } from './raw-client.ts';

export interface Lines {
  /** Method and target. */
  readonly line: string;
  readonly version?: '0.9' | '1.0' | '1.1' | '2.0';
  /** Header lines; Host comes first unless `host` is null. */
  readonly fields?: readonly string[];
  readonly host?: string | null;
  readonly body?: string | Buffer | undefined;
}

/** Sends one request and returns its final answer; fails when none comes. */
export async function sendLines(
  port: number,
  { line, version = '1.1', fields = [], host = '127.0.0.1', body }: Lines,
): Promise<RawAnswer> {
  const bytes = body === undefined ? undefined : Buffer.from(body);
  const head = [
    `${line} HTTP/${version}`,
    ...(host === null ? [] : [`Host: ${host}`]),
    ...fields,
    ...(bytes === undefined ? [] : [`Content-Length: ${bytes.length}`]),
    'Connection: close',
  ];
  const text = `${head.join('\r\n')}\r\n\r\n${bytes?.toString('latin1') ?? ''}`;
  const { answers, rest } = await rawExchange({ port }, [text], { methods: [line.split(' ')[0] ?? 'GET'] });
  const answer = answers.at(-1);
  if (!answer)
    throw new Error(`no answer to ${JSON.stringify(text.slice(0, 300))}: ${JSON.stringify(rest.slice(0, 300))}`);
  return answer;
}

/** Spellings of a header with one value that all mean the same, and `other`, which does not. */
export function spellings(name: string, value: string): Readonly<Record<string, readonly string[]>> {
  return {
    'one line': [`${name}: ${value}`],
    'two lines': [`${name}: ${value}`, `${name}: ${value}`],
    merged: [`${name}: ${value}, ${value}`],
    'merged without a space': [`${name}: ${value},${value}`],
    'other case of the name': [`${name.toUpperCase()}: ${value}`, `${name.toLowerCase()}: ${value}`],
    'trailing comma': [`${name}: ${value},`],
    'empty line beside it': [`${name}:`, `${name}: ${value}`],
    'blanks around it': [`${name}: \t ${value} \t`],
  };
}

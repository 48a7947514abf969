/**
 * A log line for a person at a terminal: time, level, part, sentence, and the few fields that the sentence does not hold.
 * Promises: one line; no control character of a foreign text reaches the terminal.
 */
import type { Fields, Level } from './facts-to-lines.ts';

const COLOUR: Readonly<Record<Level, string>> = { debug: '\x1b[2m', info: '\x1b[32m', warn: '\x1b[33m', error: '\x1b[31m' };
const PLAIN = '\x1b[0m';
/** Worth reading beside the sentence. */
const SHOWN: readonly string[] = ['method', 'tool', 'upstream', 'user', 'duration_ms', 'code', 'req_id', 'left_out'];
const MAX_SENTENCE = 400;
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not reach a terminal
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;

export interface PersonLine {
  readonly level: Level;
  readonly msg: string;
  readonly fields: Fields;
  readonly role: string;
  readonly atMs: number;
}

export function personLine({ level, msg, fields, role, atMs }: PersonLine, colour: boolean): string {
  const time = new Date(atMs).toTimeString().slice(0, 8);
  const word = colour ? `${COLOUR[level]}${level.padEnd(5)}${PLAIN}` : level.padEnd(5);
  const sentence = msg.length > MAX_SENTENCE ? `${msg.slice(0, MAX_SENTENCE)}…` : msg;
  const more = SHOWN.filter((name) => fields[name] !== undefined && !msg.includes(String(fields[name])))
    .map((name) => `${name}=${String(fields[name])}`)
    .join(' ');
  const stack = stackOf(fields);
  const text = `${time} ${'\0'} ${role.padEnd(7)} ${sentence}${more ? ` ${more}` : ''}`;
  return `${visible(text).replace('\\x00', word)}\n${stack}`;
}

/** The stack of a fault under its line, indented. */
function stackOf(fields: Fields): string {
  const { stack, err } = fields as { stack?: unknown; err?: { stack?: unknown } };
  const text = typeof stack === 'string' ? stack : err?.stack;
  if (typeof text !== 'string' || text === '') return '';
  return text
    .split('\n')
    .slice(0, 12)
    .map((line) => `           ${visible(line.trim())}\n`)
    .join('');
}

function visible(text: string): string {
  return text.replace(CONTROL, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

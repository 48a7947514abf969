/**
 * Formats a log line for a terminal: time, level, part, message, and the few fields that the message does not contain.
 * Guarantees: one line; no control character of an external text reaches the terminal.
 */
import type { Fields, Level } from './event-lines.ts';
import { visible } from './mask.ts';

const COLOUR: Readonly<Record<Level, string>> = {
  debug: '\x1b[2m',
  info: '\x1b[32m',
  warn: '\x1b[33m',
  error: '\x1b[31m',
};
const PLAIN = '\x1b[0m';
/** Fields that are shown beside the message. */
const SHOWN: readonly string[] = ['method', 'tool', 'upstream', 'user', 'duration_ms', 'code', 'req_id', 'left_out'];
const MAX_SENTENCE = 400;

export interface TerminalLine {
  readonly level: Level;
  readonly msg: string;
  readonly fields: Fields;
  readonly role: string;
  readonly atMs: number;
}

export function terminalLine({ level, msg, fields, role, atMs }: TerminalLine, colour: boolean): string {
  const time = new Date(atMs).toTimeString().slice(0, 8);
  const word = colour ? `${COLOUR[level]}${level.padEnd(5)}${PLAIN}` : level.padEnd(5);
  const sentence = msg.length > MAX_SENTENCE ? `${msg.slice(0, MAX_SENTENCE)}…` : msg;
  const more = SHOWN.filter((name) => fields[name] !== undefined && !msg.includes(String(fields[name])))
    .map((name) => `${name}=${String(fields[name])}`)
    .join(' ');
  return `${time} ${word} ${role.padEnd(7)} ${visible(more ? `${sentence} ${more}` : sentence)}\n${stackOf(fields)}`;
}

/** Returns the indented stack of an error, to follow its line. */
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

/**
 * Finds messages in a line of a child's stdout that is no valid message: several messages in one line, colours, NULs
 * and text around a message.
 * Guarantees: only a line that begins with `{` is searched, and only complete messages with `"jsonrpc"` are taken.
 */
import { isRefusal } from '../../../model/outcome.ts';
import { type answerScan, answerSteps } from '../../../protocol/answer.ts';
import type { Envelope } from '../../../protocol/message.ts';
import { valueEnd } from '../../../protocol/scan-steps.ts';

export interface Salvaged {
  /** In order; may be empty. */
  readonly messages: readonly Envelope[];
  /** The text behind the last of them. */
  readonly rest: Buffer;
}

const ESCAPE = 0x1b;
const OPEN_BRACKET = 0x5b;
const OPEN_OBJECT = 0x7b;
const LETTER_M = 0x6d;
const BLANK = 0x20;
/** Longest colour code. */
const COLOUR_BYTES = 20;
const MESSAGES = 100;
/** Blanks and colours that are skipped in one step. */
const STEP_BLANKS = 32 * 1024;
/** Bytes of a line with NULs that are searched. */
const NUL_BYTES = 64 * 1024;

/** Returns the complete messages at the beginning of a line that is no JSON, in steps of some milliseconds. */
export function* salvage(line: Buffer, scan: ReturnType<typeof answerScan>): Generator<void, Salvaged> {
  let rest = yield* withoutColours(line);
  const messages: Envelope[] = []; // bounded by: MESSAGES
  while (messages.length < MESSAGES && rest[0] === OPEN_OBJECT) {
    const end = yield* valueEnd(rest);
    const message = end < 0 ? undefined : yield* answerSteps(rest.subarray(0, end), scan);
    if (message === undefined || isRefusal(message)) break;
    messages.push(message);
    rest = yield* withoutColours(rest.subarray(end));
  }
  return { messages, rest };
}

/** Returns the line without blanks, NULs and colour codes at its ends, in steps. */
export function* withoutColours(line: Buffer): Generator<void, Buffer> {
  let at = 0;
  let end = line.length;
  let steps = 0;
  for (let next = pastBlank(line, at, end); next > at; next = pastBlank(line, at, end)) {
    at = next;
    steps += 1;
    if (steps % STEP_BLANKS === 0) yield;
  }
  for (let next = beforeBlank(line, at, end); next < end; next = beforeBlank(line, at, end)) {
    end = next;
    steps += 1;
    if (steps % STEP_BLANKS === 0) yield;
  }
  return at === 0 && end === line.length ? line : line.subarray(at, end);
}

/** Returns the beginning of the line without NULs. */
export function withoutNuls(line: Buffer): Buffer {
  return line.subarray(0, NUL_BYTES).filter((byte) => byte !== 0) as Buffer;
}

function pastBlank(line: Buffer, at: number, end: number): number {
  if (at >= end) return at;
  if (line[at] === ESCAPE) {
    if (line[at + 1] !== OPEN_BRACKET) return at;
    let to = at + 2;
    while (to < end && to < at + COLOUR_BYTES && isParameter(line[to] as number)) to += 1;
    return line[to] === LETTER_M ? to + 1 : at;
  }
  return (line[at] as number) <= BLANK ? at + 1 : at;
}

function beforeBlank(line: Buffer, at: number, end: number): number {
  if (end <= at) return end;
  if (line[end - 1] === LETTER_M) {
    let to = end - 2;
    while (to > at && to > end - COLOUR_BYTES && isParameter(line[to] as number)) to -= 1;
    return line[to] === OPEN_BRACKET && line[to - 1] === ESCAPE && to - 1 >= at ? to - 1 : end;
  }
  return (line[end - 1] as number) <= BLANK ? end - 1 : end;
}

/** Tells whether it is a digit, semicolon or colon. */
function isParameter(byte: number): boolean {
  return byte >= 0x30 && byte <= 0x3b;
}

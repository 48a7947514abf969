/**
 * Handles texts from servers that were meant as responses but are not valid JSON-RPC: finds the requests that they
 * would have answered, so that these end at once, and describes the fault.
 * Guarantees: nested content is not mistaken for a message when the text is complete or may quote a client. Linear
 * time, bounded number of members, never throws.
 */
import { atOnce } from '../runtime/take-turn.ts';
import { walkAhead } from './_ahead.ts';
import { keyIs, skipSpace } from './_scalar.ts';
import { type Budget, eachElement, eachMember, type WalkOptions } from './_value.ts';
import { replyNumber } from './answer.ts';
import { ABSENT, type Span } from './message.ts';
import { isBatch } from './scan.ts';
import { LARGE_BYTES, trimSteps } from './scan-steps.ts';

/** Options for text whose strings are not inspected. */
const LOOSE = { maxDepth: 4096, strict: false } as const;
/** Values that the search for an id visits: the id usually precedes the long part of a text. */
const ID_VALUES = 50_000;
const KEYS = ['id', 'result', 'error', 'method', 'jsonrpc'] as const;
const BACKSLASH = 0x5c;
const OPEN_OBJECT = 0x7b;
const QUOTES: ReadonlySet<number | undefined> = new Set([0x22, 0x27]);
/** Matches a message whose id comes last, as some SDKs write it. */
const LAST_ID = /["']id["']\s{0,4}:\s{0,4}(["']?\d{1,16})(["']?)\s{0,4}\}\s{0,4}$/;
const LAST_ID_BYTES = 64;
/** A key that every message has, with an id before or after it. */
const HEAD = 'jsonrpc';
const HEADS = 8;
/** Positions that are inspected in one step. */
const STEP_HEADS = 4096;
const HEAD_BYTES = 64;
const ID_BEHIND = /["']id["']\s{0,4}:\s{0,4}["']?(\d{1,16})(?!\d)/;
const ID_BEFORE = /["']id["']\s{0,4}:\s{0,4}["']?(\d{1,16})["']?\s{0,4},\s{0,4}["']$/;
/** A longer text is not parsed to describe its fault. */
const PARSED_BYTES = 64 * 1024;
const NUL = 0x00;

export interface BrokenAnswer {
  /** False when nothing shows that the text was meant as a response: it may be a log line or a request. */
  readonly isAnswer: boolean;
  /** Ids of the requests that it would have answered, each once; may be empty. */
  readonly ids: readonly number[];
}

const NO_ANSWER: BrokenAnswer = { isAnswer: false, ids: [] };

/**
 * Returns what can be determined of a text that the scanner refused. `max` is the largest number of messages in a
 * batch. When `isQuoting` is true, the text may repeat replies that a client invented (`quoted-replies.ts`); then only
 * the members of an object at its beginning identify the request.
 */
export function brokenAnswer(bytes: Buffer, max: number, isQuoting: boolean): BrokenAnswer {
  return atOnce(brokenSteps(bytes, max, isQuoting));
}

/** Works like `brokenAnswer` in steps of a few milliseconds. */
export function* brokenSteps(text: Buffer, max: number, isQuoting: boolean): Generator<void, BrokenAnswer> {
  const bytes = text.length < LARGE_BYTES ? text : yield* trimSteps(text);
  const budget = { values: ID_VALUES };
  if (isQuoting) return bytes[0] === OPEN_OBJECT ? yield* answerOf(bytes, yield* membersOf(bytes, budget)) : NO_ANSWER;
  if (!isBatch(bytes)) return yield* brokenOne(bytes, budget);
  const spans: Span[] = []; // bounded by: max
  const from = bytes.indexOf('[');
  eachElement(bytes, from, bytes.length, yield* walkOf(bytes, from, budget), (at, end) => {
    spans.push({ at, end });
    return spans.length < max;
  });
  const found: BrokenAnswer[] = []; // bounded by: max
  for (const { at, end } of spans) found.push(yield* brokenOne(bytes.subarray(at, end), budget));
  return { isAnswer: found.some(({ isAnswer }) => isAnswer), ids: distinct(found.flatMap(({ ids }) => ids)) };
}

function* walkOf(text: Buffer, at: number, budget: Budget): Generator<void, WalkOptions> {
  if (text.length < LARGE_BYTES) return { ...LOOSE, budget };
  return { ...LOOSE, budget, walked: yield* walkAhead(text, at, { ...LOOSE, budget }) };
}

function* brokenOne(bytes: Buffer, budget: Budget): Generator<void, BrokenAnswer> {
  const from = bytes.indexOf('{');
  if (from < 0) return NO_ANSWER;
  const text = from === 0 ? bytes : bytes.subarray(from);
  const members = yield* membersOf(text, budget);
  const { spans, end } = members;
  const [id, result, error, method] = spans as [Span, Span, Span, Span];
  if (end > 0 && isBlank(text, end)) return yield* answerOf(text, members);
  const heads = yield* headsIn(text);
  // A log line may have an id as well.
  const isAnswer = result.at >= 0 || error.at >= 0 || (heads.length > 0 && (yield* saysResult(text)));
  if (!isAnswer || method.at >= 0) return NO_ANSWER;
  const own = replyNumber(text, id);
  const beside =
    own === undefined || heads.length > 1 ? heads.map((at, nth) => idBeside(text, at, heads[nth + 1])) : [];
  const ids = distinct([own, ...beside].filter((one) => one !== undefined));
  return { isAnswer, ids: ids.length > 0 ? ids : lastId(text) };
}

/** Identifies the request by the object's own members only. The invalid member is not among `spans`. */
function* answerOf(text: Buffer, { spans, end }: Members): Generator<void, BrokenAnswer> {
  const [id, result, error, method, head] = spans as [Span, Span, Span, Span, Span];
  const own = replyNumber(text, id);
  // A log line may have an error as well.
  const isMeant = own !== undefined || head.at >= 0;
  const isBegun = end < 0 && head.at >= 0 && (yield* saysResult(text));
  if (!isMeant || (result.at < 0 && error.at < 0 && !isBegun) || method.at >= 0) return NO_ANSWER;
  return { isAnswer: true, ids: own === undefined ? [] : [own] };
}

function isBlank(text: Buffer, from: number): boolean {
  return skipSpace(text, from, text.length) === text.length;
}

function* saysResult(text: Buffer): Generator<void, boolean> {
  for (const member of ['"result"', '"error"', "'result'", "'error'"]) {
    if (text.includes(member)) return true;
    if (text.length >= LARGE_BYTES) yield;
  }
  return false;
}

/** Returns the positions of the key that every message has. Escaped occurrences inside a string do not count. */
function* headsIn(text: Buffer): Generator<void, number[]> {
  const heads: number[] = []; // bounded by: HEADS
  let steps = 0;
  for (let at = text.indexOf(HEAD); at >= 0 && heads.length < HEADS; at = text.indexOf(HEAD, at + HEAD.length)) {
    const isKey = QUOTES.has(text[at - 1]) && text[at - 2] !== BACKSLASH && QUOTES.has(text[at + HEAD.length]);
    if (isKey) heads.push(at);
    steps += 1;
    if (steps % STEP_HEADS === 0) yield;
  }
  return heads;
}

function idBeside(text: Buffer, head: number, next = text.length): number | undefined {
  const behind = ID_BEHIND.exec(text.toString('latin1', head, Math.min(next, head + HEAD_BYTES)));
  const found = behind ?? ID_BEFORE.exec(text.toString('latin1', Math.max(0, head - HEAD_BYTES), head));
  return found ? Number(found[1]) : undefined;
}

function lastId(text: Buffer): number[] {
  const found = LAST_ID.exec(text.toString('latin1', Math.max(0, text.length - LAST_ID_BYTES)));
  return found ? [Number((found[1] ?? '').replace(/["']/, ''))] : [];
}

function distinct(ids: readonly number[]): number[] {
  return [...new Set(ids.filter(Number.isSafeInteger))];
}

interface Members {
  /** Spans of the values of `KEYS`; ABSENT for those that are missing or come after the fault. */
  readonly spans: readonly Span[];
  /** Offset after the object; negative when it is invalid. */
  readonly end: number;
}

function* membersOf(text: Buffer, budget: Budget): Generator<void, Members> {
  const spans = KEYS.map(() => ABSENT);
  const options = yield* walkOf(text, 0, budget);
  const end = eachMember(text, 0, text.length, options, {
    member(keyAt, keyEnd, at, end) {
      const which = KEYS.findIndex((key) => keyIs(text, keyAt, keyEnd, key));
      if (which >= 0 && spans[which] === ABSENT) spans[which] = { at, end };
      return true;
    },
  });
  return { spans, end };
}

/** Describes for the operator what is wrong with a text that is not JSON, and quotes the place. */
export function jsonFault(bytes: Buffer): string {
  if (bytes.includes(NUL)) return 'it contains NUL bytes, as text in UTF-16 does';
  if (bytes.length > PARSED_BYTES) return 'it is not well-formed JSON';
  try {
    JSON.parse(bytes.toString('utf8'));
    return 'it is not a JSON-RPC message';
  } catch (fault) {
    return fault instanceof Error ? fault.message : 'it is not well-formed JSON';
  }
}

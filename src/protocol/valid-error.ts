/**
 * Builds a valid JSON-RPC error object from an invalid one of a server.
 * Guarantees: an integer code and a message, each once; `data` keeps its bytes and is not parsed. Source: JSON-RPC 2.0
 * §5.1.
 */
import { keyIs } from './_scalar.ts';
import { QUOTE, withoutLoneSurrogates } from './_strict-string.ts';
import { eachMember } from './_value.ts';
import { jsonBytes } from './json-text.ts';
import { ABSENT, type Span } from './message.ts';

const INTERNAL_ERROR = -32603;
const DIGITS = /^-?\d{1,15}$/;
const OPEN_OBJECT = 0x7b;
/** Longest message, in UTF-16 units, that is built from another value. */
const MADE_CHARS = 500;
/** A longer code or message that is an array or object is represented by its beginning, without parsing it. */
const PARSED_BYTES = 4096;
/** Options for text that was scanned before. */
const LOOSE = { maxDepth: 4096, strict: false } as const;
const DATA = Buffer.from(',"data":');
const TAIL = Buffer.from('}');

/**
 * Returns the error that `text` (valid JSON) stands for. A code that is not an integer moves into the message; the code
 * becomes −32603.
 */
export function validError(text: Buffer): Buffer {
  const [code, message, data] = membersOf(text);
  const given = valueAt(text, code);
  const number = typeof given === 'string' && DIGITS.test(given) ? Number(given) : given;
  const isInteger = Number.isSafeInteger(number);
  const isNamed = !isInteger && given !== undefined && given !== null;
  const errorText = `${isNamed ? `${shown(given)}: ` : ''}${shown(valueAt(text, message))}`;
  const error = jsonBytes({ code: isInteger ? number : INTERNAL_ERROR, message: errorText });
  if (data.at < 0) return error;
  return Buffer.concat([error.subarray(0, -1), DATA, withoutLoneSurrogates(text.subarray(data.at, data.end)), TAIL]);
}

/**
 * Returns the spans of code, message and data; of duplicates the last one counts, as in `JSON.parse`. A value that is
 * not an object is the message.
 */
function membersOf(text: Buffer): [code: Span, message: Span, data: Span] {
  const members: [Span, Span, Span] = [ABSENT, ABSENT, ABSENT];
  if (text[0] !== OPEN_OBJECT) return [ABSENT, { at: 0, end: text.length }, ABSENT];
  eachMember(text, 0, text.length, LOOSE, {
    member(keyAt, keyEnd, at, end) {
      const which = ['code', 'message', 'data'].findIndex((key) => keyIs(text, keyAt, keyEnd, key));
      if (which >= 0) members[which] = { at, end };
      return true;
    },
  });
  return members;
}

/** Returns the value at `span`, or the beginning of its text. Strings are read completely. */
function valueAt(text: Buffer, { at, end }: Span): unknown {
  if (at < 0) return undefined;
  const isParsed = text[at] === QUOTE || end - at <= PARSED_BYTES;
  return isParsed ? JSON.parse(text.toString('utf8', at, end)) : text.toString('utf8', at, at + MADE_CHARS);
}

function shown(value: unknown): string {
  if (typeof value === 'string') return value;
  return value === undefined || value === null
    ? 'The server returned an error without a message.'
    : JSON.stringify(value).slice(0, MADE_CHARS);
}

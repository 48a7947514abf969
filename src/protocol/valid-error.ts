/**
 * A JSON-RPC error object from what a server gave instead of one.
 * Guarantees: an integer code and a message, each once; `data` stays as the bytes it was, so that its values cost no time. Source: JSON-RPC 2.0 §5.1.
 */
import { keyIs } from './_scalar.ts';
import { QUOTE, withoutLoneSurrogates } from './_strict-string.ts';
import { eachMember } from './_value.ts';
import { jsonBytes } from './json-text.ts';
import { ABSENT, type Span } from './message.ts';

const INTERNAL_ERROR = -32603;
const DIGITS = /^-?\d{1,15}$/;
const OPEN_OBJECT = 0x7b;
/** UTF-16 units of a message that is made of something else. */
const MADE_CHARS = 500;
/** A longer code or message that is an array or object is shown by its beginning, without building it. */
const PARSED_BYTES = 4096;
/** For text that has been scanned. */
const LOOSE = { maxDepth: 4096, strict: false } as const;
const DATA = Buffer.from(',"data":');
const TAIL = Buffer.from('}');

/** Returns the error that `text` (valid JSON) stands for: a code that is no integer goes into the message, with −32603 in its place. */
export function validError(text: Buffer): Buffer {
  const [code, message, data] = membersOf(text);
  const given = valueAt(text, code);
  const number = typeof given === 'string' && DIGITS.test(given) ? Number(given) : given;
  const isInteger = Number.isSafeInteger(number);
  const isNamed = !isInteger && given !== undefined && given !== null;
  const said = `${isNamed ? `${shown(given)}: ` : ''}${shown(valueAt(text, message))}`;
  const error = jsonBytes({ code: isInteger ? number : INTERNAL_ERROR, message: said });
  if (data.at < 0) return error;
  return Buffer.concat([error.subarray(0, -1), DATA, withoutLoneSurrogates(text.subarray(data.at, data.end)), TAIL]);
}

/** Where code, message and data lie: of several, the last one, as in `JSON.parse`. What is no object is the message. */
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

/** The value at `span`, or the beginning of its text. Strings are read whole. */
function valueAt(text: Buffer, { at, end }: Span): unknown {
  if (at < 0) return undefined;
  const isParsed = text[at] === QUOTE || end - at <= PARSED_BYTES;
  return isParsed ? JSON.parse(text.toString('utf8', at, end)) : text.toString('utf8', at, at + MADE_CHARS);
}

function shown(value: unknown): string {
  if (typeof value === 'string') return value;
  return value === undefined || value === null
    ? 'The server gave an error without a message.'
    : JSON.stringify(value).slice(0, MADE_CHARS);
}

/**
 * A JSON-RPC error object from what a server gave instead of one.
 * Guarantees: an integer code and a message, each once; `data` stays. Source: JSON-RPC 2.0 §5.1.
 */
import { jsonBytes } from './json-text.ts';

const INTERNAL_ERROR = -32603;
const DIGITS = /^-?\d{1,15}$/;
/** UTF-16 units of a message that is made of something else. */
const MADE_CHARS = 500;

/** Returns the error that `text` (valid JSON) stands for: a code that is no integer goes into the message, with −32603 in its place. */
export function validError(text: Buffer): Buffer {
  const given: unknown = JSON.parse(text.toString('utf8'));
  const { code, message, data } = isObject(given) ? given : { message: given };
  const number = typeof code === 'string' && DIGITS.test(code) ? Number(code) : code;
  const isInteger = Number.isSafeInteger(number);
  const isNamed = !isInteger && code !== undefined && code !== null;
  const said = `${isNamed ? `${shown(code)}: ` : ''}${shown(message)}`;
  return jsonBytes({
    code: isInteger ? number : INTERNAL_ERROR,
    message: said,
    ...(data === undefined ? {} : { data }),
  });
}

function shown(value: unknown): string {
  if (typeof value === 'string') return value;
  return value === undefined || value === null
    ? 'The server gave an error without a message.'
    : JSON.stringify(value).slice(0, MADE_CHARS);
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

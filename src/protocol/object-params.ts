/**
 * Members of params that must be objects. PHP writes an empty map as `[]`, other libraries write null: both count as `{}`, for the hub and for the
 * server that gets them.
 */
import { type Outcome, Refusal } from '../model/outcome.ts';
import { EMPTY_BYTES } from './_inner-members.ts';
import { keyIs, skipSpace } from './_scalar.ts';
import type { Envelope, Span } from './message.ts';
import { withValue } from './write.ts';

const OPEN_OBJECT = 0x7b;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const NULL = 0x6e;
const EMPTY = Buffer.from('{}');
const ALL: readonly string[] = ['_meta', 'inputResponses'];
const BY_METHOD: ReadonlyMap<string, readonly string[]> = new Map([
  ['tools/call', [...ALL, 'arguments']],
  ['prompts/get', [...ALL, 'arguments']],
  ['completion/complete', [...ALL, 'context']],
  ['subscriptions/listen', [...ALL, 'notifications']],
]);

/**
 * Returns the request with `{}` where its params have an empty array or null in the place of an object; the same envelope when nothing is to be
 * changed. Refuses with `invalid-params` what is of another kind. Notifications and replies are returned as they are.
 */
export function withObjectParams(envelope: Envelope): Outcome<Envelope> {
  const { bytes, inParams, kind } = envelope;
  if (inParams === undefined || kind !== 'request') return envelope;
  for (let i = 0; i < inParams.length; i += 4) {
    const value = { at: inParams[i + 2] as number, end: inParams[i + 3] as number };
    // Nearly all that are objects in fact.
    if (bytes[value.at] === OPEN_OBJECT) continue;
    const name = objectNamed(envelope, { at: inParams[i] as number, end: inParams[i + 1] as number });
    if (name === undefined) continue;
    if (!isEmpty(bytes, value)) return new Refusal('invalid-params', `params.${name} must be an object.`);
    // Whatever else is empty is looked for in the message as it is then.
    return withObjectParams(withValue(envelope, value, EMPTY));
  }
  return envelope;
}

/** The name that a key spells, when its value must be an object in this method. */
function objectNamed({ bytes, method }: Envelope, key: Span): string | undefined {
  return (BY_METHOD.get(method) ?? ALL).find((name) => keyIs(bytes, key.at, key.end, name));
}

/** Null, or an array without elements. */
export function isEmpty(bytes: Buffer, { at, end }: Span): boolean {
  if (bytes[at] === NULL) return true;
  if (bytes[at] !== OPEN_ARRAY || end - at > EMPTY_BYTES) return false;
  return bytes[skipSpace(bytes, at + 1, end)] === CLOSE_ARRAY;
}

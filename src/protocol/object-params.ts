/**
 * Repairs members of params that must be objects. PHP writes an empty map as `[]`, other libraries write null; both
 * count as `{}`, for the hub and for the server that receives them.
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
 * Returns the request with `{}` in place of an empty array or null where its params need an object; the same envelope
 * when nothing changes. Refuses other types with `invalid-params`. Returns notifications and replies unchanged.
 */
export function withObjectParams(envelope: Envelope): Outcome<Envelope> {
  const { bytes, inParams, kind } = envelope;
  if (inParams === undefined || kind !== 'request') return envelope;
  for (let i = 0; i < inParams.length; i += 4) {
    const value = { at: inParams[i + 2] as number, end: inParams[i + 3] as number };
    // Fast path: nearly all of them are objects.
    if (bytes[value.at] === OPEN_OBJECT) continue;
    const name = objectNamed(envelope, { at: inParams[i] as number, end: inParams[i + 1] as number });
    if (name === undefined) continue;
    if (!isEmpty(bytes, value)) return new Refusal('invalid-params', `params.${name} must be an object.`);
    // The recorded positions have moved, so the search continues in the changed message.
    return withObjectParams(withValue(envelope, value, EMPTY));
  }
  return envelope;
}

/** Returns the decoded key when this method requires its value to be an object. */
function objectNamed({ bytes, method }: Envelope, key: Span): string | undefined {
  return (BY_METHOD.get(method) ?? ALL).find((name) => keyIs(bytes, key.at, key.end, name));
}

/** Returns true for null and for an array without elements. */
export function isEmpty(bytes: Buffer, { at, end }: Span): boolean {
  if (bytes[at] === NULL) return true;
  if (bytes[at] !== OPEN_ARRAY || end - at > EMPTY_BYTES) return false;
  return bytes[skipSpace(bytes, at + 1, end)] === CLOSE_ARRAY;
}

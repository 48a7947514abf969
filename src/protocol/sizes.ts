/**
 * Limits the texts that a client chooses in params: URIs, names, cursors, levels. They are stored, forwarded or
 * compared, so they must not be payloads.
 * Guarantees: the length of each member, and of nested ones where the method has any, is checked once, before anything
 * is decoded.
 */
import { type Outcome, Refusal } from '../model/outcome.ts';
import { keyIs } from './_scalar.ts';
import { eachMember } from './_value.ts';
import { ABSENT, type Envelope, type Span } from './message.ts';
import { memberSpan, paramSpan } from './scan.ts';

export interface SizeLimits {
  readonly uriBytes: number;
  readonly nameBytes: number;
  readonly cursorBytes: number;
  readonly idBytes: number;
  readonly initializeBytes: number;
}

type SizeLimit = keyof SizeLimits;

/** Limited members of params. */
const LIMITED: readonly (readonly [key: string, limit: SizeLimit])[] = [
  ['uri', 'uriBytes'],
  ['name', 'nameBytes'],
  ['cursor', 'cursorBytes'],
  ['level', 'nameBytes'],
  ['protocolVersion', 'nameBytes'],
  ['requestId', 'idBytes'],
];
/** Limited nested members, per method. */
const NESTED: Readonly<Record<string, readonly (readonly [outer: string, key: string, limit: SizeLimit])[]>> = {
  'completion/complete': [
    ['ref', 'uri', 'uriBytes'],
    ['ref', 'name', 'nameBytes'],
    ['ref', 'type', 'nameBytes'],
    ['argument', 'name', 'nameBytes'],
  ],
};
const QUOTES = 2;

/**
 * Refuses with `invalid-params` the first member that is too long, and names its limit. Returns undefined when none is.
 */
export function refuseLongParams(envelope: Envelope, limits: SizeLimits): Refusal | undefined {
  const { bytes, params, inParams, method } = envelope;
  if (params.at < 0) return undefined;
  if (method === 'initialize' && params.end - params.at > limits.initializeBytes)
    return tooLong('params', 'initializeBytes', limits);
  const refusal = inParams === undefined ? walkMembers(bytes, params, limits) : inspect(bytes, inParams, limits);
  return refusal ?? (Object.hasOwn(NESTED, method) ? refuseNested(envelope, limits) : undefined);
}

/** Fast path: nearly every member is shorter than all limits, and its name is not read. */
function inspect(bytes: Buffer, inParams: readonly number[], limits: SizeLimits): Refusal | undefined {
  const least = Math.min(limits.nameBytes, limits.idBytes, limits.uriBytes, limits.cursorBytes) + QUOTES;
  for (let i = 0; i < inParams.length; i += 4) {
    const length = (inParams[i + 3] as number) - (inParams[i + 2] as number);
    if (length <= least) continue;
    const key = { at: inParams[i] as number, end: inParams[i + 1] as number };
    const refusal = refuseMember(bytes, key, length, limits);
    if (refusal) return refusal;
  }
  return undefined;
}

/** Checks params with so many members that their positions were not recorded. */
function walkMembers(bytes: Buffer, params: Span, limits: SizeLimits): Refusal | undefined {
  let refusal: Refusal | undefined;
  eachMember(bytes, params.at, params.end, LOOSE, {
    member(keyAt, keyEnd, at, end) {
      refusal = refuseMember(bytes, { at: keyAt, end: keyEnd }, end - at, limits);
      return refusal === undefined;
    },
  });
  return refusal;
}

/** Checks a decoded URI from elsewhere. */
export function refuseLongUri(uri: string, what: string, limits: Pick<SizeLimits, 'uriBytes'>): Outcome<undefined> {
  if (uri.length * 3 <= limits.uriBytes || Buffer.byteLength(uri) <= limits.uriBytes) return undefined;
  return new Refusal('invalid-params', `${what} is longer than ${limits.uriBytes} bytes.`, { setting: 'uriBytes' });
}

/** Options for text that was scanned before. */
const LOOSE = { maxDepth: 4096, strict: false } as const;

function refuseMember(bytes: Buffer, key: Span, length: number, limits: SizeLimits): Refusal | undefined {
  for (const [name, limit] of LIMITED)
    if (length > limits[limit] + QUOTES && keyIs(bytes, key.at, key.end, name))
      return tooLong(`params.${name}`, limit, limits);
  return undefined;
}

function refuseNested(envelope: Envelope, limits: SizeLimits): Refusal | undefined {
  const { bytes, method } = envelope;
  for (const [outer, key, limit] of NESTED[method] ?? []) {
    const object = paramSpan(envelope, outer);
    const { at, end } = object.at < 0 ? ABSENT : memberSpan(bytes, object, key);
    if (at >= 0 && end - at > limits[limit] + QUOTES) return tooLong(`params.${outer}.${key}`, limit, limits);
  }
  return undefined;
}

function tooLong(what: string, limit: SizeLimit, limits: SizeLimits): Refusal {
  return new Refusal('invalid-params', `${what} is longer than ${limits[limit]} bytes.`, { setting: limit });
}

/**
 * Reads headers of requests. All lines of a header are one list (`joinDuplicateHeaders`, RFC 9110, section 5.3): equal
 * members count once; different ones, where one is allowed, are refused with the name of the header.
 */
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { type Outcome, Refusal } from '../model/outcome.ts';
import { listMembers, onlyMember } from '../protocol/header-list.ts';

const JSON_TYPE = /^application\/(?:json|json-rpc|[\w.+-]+\+json)$/;
const EVENT_STREAM = 'text/event-stream';
/** What nearly all clients send. */
const USUAL_TYPE = 'application/json';
const USUAL_ACCEPT = 'application/json, text/event-stream';

/**
 * Returns the one value of a header; undefined if it is absent or empty. Refuses several different ones with
 * `invalid-request` (400).
 */
export function headerValue({ headers }: IncomingMessage, name: string): Outcome<string | undefined> {
  const value = headers[name];
  if (typeof value !== 'string') return undefined;
  const only = onlyMember(value);
  return only === undefined ? severalValues(name) : only || undefined;
}

/** Returns the refusal of a header that has several different values. `name` is in lower case. */
export function severalValues(name: string): Refusal {
  const header = name.replace(/(?:^|-)[a-z]/g, (start) => start.toUpperCase());
  return new Refusal('invalid-request', `The header ${header} has several different values.`, { header });
}

/** Returns the session id of a request; different members are returned with commas, which no session id has. */
export function sessionIdIn({ 'mcp-session-id': id }: IncomingHttpHeaders): string | undefined {
  return typeof id === 'string' ? (onlyMember(id) ?? id) || undefined : undefined;
}

/** Returns the header names that a preflight requests, in lower case; undefined for none, or more than `maxChars`. */
export function requestedHeaders({ headers }: IncomingMessage, maxChars: number): readonly string[] | undefined {
  const asked = headers['access-control-request-headers'];
  if (asked === undefined || asked.length > maxChars) return undefined;
  return listMembers(asked.toLowerCase());
}

/** Returns the scheme that the first proxy received, for display only: any client may send the header. */
export function forwardedProto({ headers }: IncomingMessage): string | undefined {
  const value = headers['x-forwarded-proto'];
  return typeof value === 'string' ? listMembers(value.toLowerCase())[0] : undefined;
}

/** Refuses a body that is not JSON by its Content-Type. `mayLack`: the header may be missing. */
export function refuseType({ headers }: IncomingMessage, mayLack = false): Refusal | undefined {
  const type = headers['content-type'];
  if (type === USUAL_TYPE) return undefined;
  const types = listMembers(type ?? '').map((member) => beforeParameters(member));
  if (types.some((other) => other !== types[0]) && !types.every(isJsonType)) return severalValues('content-type');
  return types.every(isJsonType) && (types.length > 0 || mayLack) ? undefined : new Refusal('media-type');
}

function isJsonType(type: string): boolean {
  return JSON_TYPE.test(type);
}

/** Refuses a body with a content coding: the hub decodes none (RFC 9110, section 8.4). */
export function refuseCoding({ headers }: IncomingMessage): Refusal | undefined {
  const codings = headers['content-encoding'];
  if (codings === undefined) return undefined;
  const isPlain = listMembers(codings).every((coding) => coding.toLowerCase() === 'identity');
  return isPlain ? undefined : new Refusal('content-coding');
}

/**
 * Tells whether Accept names event streams, in any case, with any parameters and a weight above 0. The range for all
 * types does not count: programs that only read whole answers send it.
 */
export function acceptsEventStream({ accept }: IncomingHttpHeaders): boolean {
  if (accept === undefined) return false;
  if (accept === USUAL_ACCEPT) return true;
  const ranges = listMembers(accept.toLowerCase());
  const exact = ranges.find((range) => beforeParameters(range) === EVENT_STREAM);
  const range = exact ?? ranges.find((other) => beforeParameters(other) === 'text/*');
  return range !== undefined && !isWeightZero(range);
}

function beforeParameters(member: string): string {
  const end = member.indexOf(';');
  return (end < 0 ? member : member.slice(0, end)).trim().toLowerCase();
}

function isWeightZero(range: string): boolean {
  const weight = range.split(';').find((parameter) => parameter.trim().startsWith('q='));
  return weight !== undefined && Number(weight.trim().slice(2)) === 0;
}

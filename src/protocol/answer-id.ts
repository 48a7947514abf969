/**
 * Determines the id of an error response: the id of the request, or null when there is no request or its id is unknown.
 * Source: JSON-RPC 2.0 §5, "id".
 */
import { isUtf8 } from 'node:buffer';
import type { Refusal } from '../model/outcome.ts';
import { keyIs } from './_scalar.ts';
import { QUOTE } from './_strict-string.ts';
import { eachMember } from './_value.ts';
import { ABSENT, type Envelope, type Span } from './message.ts';
import { stringAt } from './scan.ts';

const NULL_ID = Buffer.from('null');
const MINUS = 0x2d;
/** Longest id that an error response repeats; longer ones are not read. */
const ID_BYTES = 4096;
const METHOD_BYTES = 64;
/** The walk over a refused message ends after this many values; the id usually precedes the long part of a message. */
const WALK = { values: 10_000, depth: 65_536 } as const;
const BLANKS: ReadonlySet<number> = new Set([0x20, 0x09, 0x0a, 0x0d]);
const NOTIFICATIONS = 'notifications/';

/** Returns the raw JSON text of the id for the response to this message: `null` unless it is a request. */
export function answerId({ bytes, id, kind }: Envelope): Buffer {
  return kind === 'request' && id.at >= 0 ? bytes.subarray(id.at, id.end) : NULL_ID;
}

export interface RefusedMessage {
  /** Only requests and messages of unknown kind (`unknown`, id null) get a response. */
  readonly kind: 'request' | 'notification' | 'reply' | 'unknown';
  /** Raw JSON text; `null` unless it is a request. */
  readonly idRaw: Buffer;
}

/**
 * Returns the kind and id of a message that `scanEnvelope` refused, as far as they can be determined. Text that is not
 * JSON has neither.
 */
export function refusedMessage(bytes: Buffer, refusal: Pick<Refusal, 'code'>): RefusedMessage {
  const unknown: RefusedMessage = { kind: 'unknown', idRaw: NULL_ID };
  if (refusal.code === 'parse-error') return unknown;
  const { id, method, isReply, isTwice } = controlMembers(bytes);
  if (isTwice) return unknown;
  if (isReply) return { kind: 'reply', idRaw: NULL_ID };
  if (id.at >= 0) {
    const idRaw = bytes.subarray(id.at, id.end);
    return isRequestId(idRaw) ? { kind: 'request', idRaw } : unknown;
  }
  const name = stringAt(bytes, method, METHOD_BYTES);
  return name?.startsWith(NOTIFICATIONS) ? { kind: 'notification', idRaw: NULL_ID } : unknown;
}

interface ControlMembers {
  readonly id: Span;
  readonly method: Span;
  readonly isReply: boolean;
  /** True when a member occurs twice, so that its value is ambiguous. */
  readonly isTwice: boolean;
}

function controlMembers(bytes: Buffer): ControlMembers {
  let id = ABSENT;
  let method = ABSENT;
  let hasResult = false;
  let isTwice = false;
  const options = { maxDepth: WALK.depth, strict: false, budget: { values: WALK.values } };
  eachMember(bytes, Math.max(0, bytes.indexOf('{')), bytes.length, options, {
    member(keyAt, keyEnd, at, end) {
      const span = { at, end };
      if (keyIs(bytes, keyAt, keyEnd, 'id')) {
        isTwice ||= id.at >= 0;
        id = span;
      } else if (keyIs(bytes, keyAt, keyEnd, 'method')) {
        isTwice ||= method.at >= 0;
        method = span;
      } else if (keyIs(bytes, keyAt, keyEnd, 'result') || keyIs(bytes, keyAt, keyEnd, 'error')) hasResult = true;
      return true;
    },
  });
  return { id, method, isReply: hasResult && method.at < 0, isTwice };
}

/**
 * Returns true for the JSON text of a string or number in UTF-8 without surrounding white space: only such an id can be
 * repeated in one line of JSON.
 */
export function isRequestId(raw: Buffer): boolean {
  const first = raw[0] as number;
  if (raw.length > ID_BYTES || !isUtf8(raw) || BLANKS.has(raw.at(-1) as number)) return false;
  if (first !== QUOTE && first !== MINUS && !(first >= 0x30 && first <= 0x39)) return false;
  try {
    JSON.parse(raw.toString('utf8'));
    return true;
  } catch {
    return false;
  }
}

/**
 * A result that asks back: what a server wants of its user, in the answer to the client's request, and the client's second request with
 * what the user said.
 * Promises: what the server asks and what the user answers keep their bytes.
 * Does not: remember what was asked (`call/suspended-calls.ts`).
 * Source: specification 2026-07-28, multi round-trip requests.
 */
import { type Outcome, Refusal } from '../../model/outcome.ts';
import type { Envelope, Span } from '../message.ts';
import { withoutMembers } from '../meta.ts';
import { memberSpan, paramSpan, stringAt } from '../scan.ts';

export interface InputRequest {
  readonly method: string;
  /** Complete JSON text; undefined = none. */
  readonly params: Buffer | undefined;
}

const EMPTY = Buffer.from('{}');
const OPEN_OBJECT = 0x7b;
const NULL = 0x6e;
const STATE_BYTES = 65_536;

/** `requests` by their keys. */
export function inputRequiredResult(requests: ReadonlyMap<string, InputRequest>, requestState: string): Buffer {
  const pieces = [...requests].flatMap(([key, { method, params }], at) => [
    Buffer.from(`${at === 0 ? '' : ','}${JSON.stringify(key)}:{"method":${JSON.stringify(method)},"params":`),
    // This era has no word for it: the answer to the question is the answer.
    params === undefined ? EMPTY : withoutMembers(params, ['elicitationId']),
    Buffer.from('}'),
  ]);
  return Buffer.concat([
    Buffer.from(`{"resultType":"input_required","requestState":${JSON.stringify(requestState)},"inputRequests":{`),
    ...pieces,
    Buffer.from('}}'),
  ]);
}

export interface Retry {
  readonly requestState: string;
  /** JSON text of the answer to a question; undefined = there is none. */
  response(key: string): Buffer | undefined;
}

/** Undefined = a first request. What stands in it besides, without a state, belongs to nothing. Refuses with `invalid-params`. */
export function readRetry(envelope: Envelope): Outcome<Retry | undefined> {
  const { bytes } = envelope;
  const state = paramSpan(envelope, 'requestState');
  if (state.at < 0 || bytes[state.at] === NULL) return undefined;
  const requestState = stringAt(bytes, state, STATE_BYTES);
  if (requestState === '') return undefined;
  if (requestState === undefined) return new Refusal('invalid-params', 'params.requestState must be a string.');
  const responses = paramSpan(envelope, 'inputResponses');
  if (responses.at >= 0 && bytes[responses.at] !== OPEN_OBJECT)
    return new Refusal('invalid-params', 'params.inputResponses must be an object.');
  return { requestState, response: (key) => objectAt(bytes, memberSpan(bytes, responses, key)) };
}

function objectAt(bytes: Buffer, span: Span): Buffer | undefined {
  return span.at >= 0 && bytes[span.at] === OPEN_OBJECT ? Buffer.from(bytes.subarray(span.at, span.end)) : undefined;
}

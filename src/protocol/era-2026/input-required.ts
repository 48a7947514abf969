/**
 * The input_required result, which carries a server's questions in the response to a request, and the client's retry of
 * that request with the answers.
 * Guarantees: questions and answers keep their bytes. The questions are stored elsewhere (`call/suspended-calls.ts`).
 * Source: specification 2026-07-28, multi round-trip requests.
 */
import { type Outcome, Refusal } from '../../model/outcome.ts';
import type { Envelope, Span } from '../message.ts';
import { withoutMembers } from '../meta.ts';
import { memberSpan, paramSpan, stringAt } from '../scan.ts';

export interface InputRequest {
  readonly method: string;
  /** Complete JSON text, or undefined when there are none. */
  readonly params: Buffer | undefined;
}

const EMPTY = Buffer.from('{}');
const OPEN_OBJECT = 0x7b;
const NULL = 0x6e;
const STATE_BYTES = 65_536;

/** Returns the result that asks `requests`, by their keys. */
export function inputRequiredResult(requests: ReadonlyMap<string, InputRequest>, requestState: string): Buffer {
  const pieces = [...requests].flatMap(([key, { method, params }], at) => [
    Buffer.from(`${at === 0 ? '' : ','}${JSON.stringify(key)}:{"method":${JSON.stringify(method)},"params":`),
    // This era has no counterpart: the answer to the question completes it.
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
  /** Returns the JSON text of the answer to a question, or undefined when there is none. */
  response(key: string): Buffer | undefined;
}

/**
 * Reads the answers in a request. Returns undefined for a first request; answers without a state are ignored. Refuses
 * with `invalid-params`.
 */
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

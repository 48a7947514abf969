/**
 * Writes frequent refusals, such as those to a key that calls in a loop, from bytes that are built once.
 * Guarantees: answers before the body was read; a connection with a small unread body stays usable, because Node drops
 * the body when it arrives; with another unread body it closes (`http-response.ts`).
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { errorRow } from '../model/errors.ts';
import type { Refusal } from '../model/outcome.ts';
import { refusalFrame } from '../protocol/write.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { SMALL_BYTES } from './bodies.ts';
import { closeBody } from './guarded-http.ts';
import { refusalHeaders, refuseRequest, traceRefusal } from './http-answer.ts';
import { type PreparedHead, writePreparedHead } from './http-response.ts';

interface Prepared extends PreparedHead {
  /** One character for each byte. */
  readonly body: string;
}

export type RefusalWriter = (request: IncomingMessage, response: ServerResponse, refusal: Refusal) => void;

const NULL_ID = Buffer.from('null');

/** Returns the JSON-RPC error of a refusal. */
const frameOf = (refusal: Refusal): Buffer => refusalFrame(NULL_ID, refusal);

/**
 * Returns a writer for refusals of whole requests; the JSON-RPC error has `id: null`, unless `bodyOf` builds another
 * body. The bytes of a refusal are kept as long as the object. `otherwise` writes when the connection is not kept.
 */
export function createRefusalWriter(
  runtime: Pick<Runtime, 'clock'>,
  bodyOf: (refusal: Refusal) => Buffer = frameOf,
  otherwise: RefusalWriter = refuseRequest,
): RefusalWriter {
  const known = new WeakMap<Refusal, Prepared>();

  function prepare(refusal: Refusal): Prepared {
    const { http } = errorRow(refusal.code);
    const status = http < 400 ? 403 : http;
    const body = bodyOf(refusal).toString('latin1');
    const headers = {
      'content-type': 'application/json',
      'content-length': String(body.length),
      ...refusalHeaders(refusal, status, undefined),
    };
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
    return { status, lines, body, text: '', second: Number.NaN };
  }

  return (request, response, refusal) => {
    if (response.destroyed || response.headersSent) return;
    if (!keepsConnection(request, response)) return otherwise(request, response, refusal);
    let prepared = known.get(refusal);
    if (!prepared) {
      prepared = prepare(refusal);
      known.set(refusal, prepared);
    }
    traceRefusal(response, refusal);
    closeBody(request);
    writePreparedHead(response, prepared, runtime.clock.wallMs());
    response.end(prepared.body, 'latin1');
  };
}

/** Returns false when the response has headers of its own, or the rest of the request's body is not small. */
function keepsConnection({ headers, complete }: IncomingMessage, response: ServerResponse): boolean {
  if (!response.shouldKeepAlive || headers.origin !== undefined || response.hasHeader('connection')) return false;
  if (complete) return true;
  if (headers['transfer-encoding'] !== undefined || headers.expect !== undefined) return false;
  return !(Number(headers['content-length'] ?? 0) > SMALL_BYTES);
}

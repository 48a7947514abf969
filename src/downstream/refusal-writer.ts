/**
 * Writes refusals that are given again and again, as to a key that calls in a loop: the body of each is made once.
 */
import type { ServerResponse } from 'node:http';
import { errorRow } from '../kernel/errors.ts';
import type { Refusal } from '../kernel/outcome.ts';
import { refusalFrame } from '../protocol/write.ts';
import { type AnswerHeaders, refusalHeaders } from './http-answer.ts';

interface Prepared {
  readonly status: number;
  readonly headers: AnswerHeaders;
  /** One character for each byte. */
  readonly body: string;
}

const NULL_ID = Buffer.from('null');

/** Returns a writer for refusals of whole requests that were read to their end; the JSON-RPC error has `id: null`. */
export function createRefusalWriter(): (response: ServerResponse, refusal: Refusal) => void {
  const known = new WeakMap<Refusal, Prepared>();

  function prepare(refusal: Refusal): Prepared {
    const status = errorRow(refusal.code).http;
    const body = refusalFrame(NULL_ID, refusal).toString('latin1');
    const headers = {
      'content-type': 'application/json',
      'content-length': String(body.length),
      ...refusalHeaders(refusal, status, undefined),
    };
    return { status, headers, body };
  }

  return (response, refusal) => {
    if (response.destroyed || response.headersSent) return;
    let prepared = known.get(refusal);
    if (!prepared) {
      prepared = prepare(refusal);
      known.set(refusal, prepared);
    }
    response.writeHead(prepared.status, prepared.headers).end(prepared.body, 'latin1');
  };
}

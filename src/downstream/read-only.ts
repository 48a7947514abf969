/**
 * Accepts GET and HEAD without a body, for paths that are answered from memory. A refused request with a body also
 * closes its connection, so that no byte of the body is taken for the next request.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Refusal } from '../model/outcome.ts';
import { declaresBody, writeApiRefusal } from './http-answer.ts';

const METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD']);
const CLOSE = { connection: 'close' } as const;

/** Returns true for a GET or HEAD without a body; otherwise answers 405 (with `allow`) or 400 and returns false. */
export function acceptsRead(request: IncomingMessage, response: ServerResponse): boolean {
  if (!METHODS.has(request.method ?? '')) {
    refuseMethod(request, response, 'GET, HEAD');
    return false;
  }
  if (!declaresBody(request)) return true;
  refuseBody(request, response);
  return false;
}

/** Answers 400 and closes the connection. */
export function refuseBody(request: IncomingMessage, response: ServerResponse): void {
  const refusal = new Refusal('invalid-request', 'This path and method take no request body.');
  writeApiRefusal(request, response, refusal, CLOSE);
}

/** Answers 405 with `allow`; closes the connection when a body was announced. */
export function refuseMethod(request: IncomingMessage, response: ServerResponse, allow: string): void {
  const refusal = new Refusal('method-not-allowed', `This path accepts ${allow}.`);
  writeApiRefusal(request, response, refusal, declaresBody(request) ? { allow, ...CLOSE } : { allow });
}

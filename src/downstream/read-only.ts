/**
 * Guards paths that are answered from memory: GET and HEAD without a request body, and nothing else.
 * A refused request with a body also closes its connection, so that no byte of the body is taken for the next request.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { declaresBody, writeJson } from './http-answer.ts';

const METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD']);

/** Returns true for a GET or HEAD without a body; otherwise answers 405 (with `allow`) or 400 and returns false. */
export function acceptsRead(request: IncomingMessage, response: ServerResponse): boolean {
  if (!METHODS.has(request.method ?? '')) {
    refuseMethod(request, response, 'GET, HEAD');
    return false;
  }
  if (!declaresBody(request)) return true;
  refuseBody(response);
  return false;
}

/** Answers 400 and closes the connection. */
export function refuseBody(response: ServerResponse): void {
  const error = { code: 'invalid-request', message: 'This path and method take no request body.' };
  writeJson(response, 400, JSON.stringify({ error }), { connection: 'close', 'cache-control': 'no-store' });
}

/** Answers 405 with `allow`; closes the connection when a body was announced. */
export function refuseMethod(request: IncomingMessage, response: ServerResponse, allow: string): void {
  const error = { code: 'method-not-allowed', message: `This path accepts ${allow}.` };
  const headers = { allow, 'cache-control': 'no-store' };
  writeJson(
    response,
    405,
    JSON.stringify({ error }),
    declaresBody(request) ? { ...headers, connection: 'close' } : headers,
  );
}

/**
 * One POST to the everything server of the stateless era: an answer as JSON, or as SSE once something goes out before
 * it.
 * Promises: a request that is closed is cancelled; an error has the status that the specification gives its code.
 * Does not: listen or choose the era (`everything-http.ts`), or know what is served (`modern-answers.ts`).
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { ErrorCode, McpError } from '@modelcontextprotocol/sdk/types.js';
import type { World } from './everything-world.ts';
import { answerModern } from './modern-answers.ts';
import { type ModernClaim, type ModernMessage, readModernClaim, statusOf } from './modern-claim.ts';

export async function serveModern(
  world: World,
  request: IncomingMessage,
  response: ServerResponse,
  message: ModernMessage,
): Promise<void> {
  if (message.id === undefined) return void response.writeHead(202).end();
  let claim: ModernClaim;
  try {
    claim = readModernClaim(message, request.headers);
  } catch (fault) {
    return writeJson(response, 400, frameOf(message, { error: errorOf(fault) }));
  }
  const closed = new AbortController();
  response.once('close', () => closed.abort());
  const notify = (notification: object): void => {
    if (!response.headersSent) response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    response.write(eventOf({ jsonrpc: '2.0', ...notification }));
  };
  const said = await saidTo(() => answerModern(world, { message, claim, signal: closed.signal, notify }));
  if (response.destroyed) return;
  if (response.headersSent) return void response.end(eventOf(frameOf(message, said)));
  writeJson(response, 'error' in said ? statusOf(said.error.code) : 200, frameOf(message, said));
}

type Said = { readonly result: object } | { readonly error: { readonly code: number } };

/** A result or an error object. */
export async function saidTo(work: () => Promise<object>): Promise<Said> {
  try {
    return { result: await work() };
  } catch (fault) {
    return { error: errorOf(fault) };
  }
}

export function frameOf({ id }: ModernMessage, said: object): object {
  return { jsonrpc: '2.0', id, ...said };
}

function errorOf(fault: unknown): { code: number; message: string; data?: unknown } {
  if (!(fault instanceof McpError)) return { code: ErrorCode.InternalError, message: String(fault) };
  const { code, message, data } = fault;
  return { code, message, ...(data === undefined ? {} : { data }) };
}

function eventOf(message: object): string {
  return `event: message\ndata: ${JSON.stringify(message)}\n\n`;
}

function writeJson(response: ServerResponse, status: number, message: object): void {
  response.writeHead(status, { 'Content-Type': 'application/json' });
  response.end(JSON.stringify(message));
}

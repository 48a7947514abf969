/**
 * One HTTP request of `mcphub bridge`, to a URL or to the socket of this machine's hub.
 * Guarantees: a hub that does not accept the connection within 5 s counts as unavailable; failures tell whether the hub
 * may have received the request.
 */
import { request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { Timers } from '../runtime/clock.ts';

export interface BridgeTarget {
  /** `http(s)://…/mcp`; undefined for this machine's hub over `socketPath`. */
  readonly url: URL | undefined;
  readonly socketPath: string | undefined;
  readonly path: string;
  readonly key: string | undefined;
}

export interface BridgeRequest {
  readonly method: 'GET' | 'POST' | 'DELETE';
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer | undefined;
  readonly session: string | undefined;
}

export interface RequestHandlers {
  answer(answer: IncomingMessage): void;
  /** `reached` is true when the connection was established, so the hub may have read the request. */
  failed(why: string, reached: boolean): void;
}

const CONNECT_MS = 5000;

export function sendRequest(
  target: BridgeTarget,
  timers: Timers,
  sending: BridgeRequest,
  handlers: RequestHandlers,
): void {
  const options = optionsFrom(target, sending);
  const sent = target.url?.protocol === 'https:' ? httpsRequest(options) : httpRequest(options);
  let reached = false;
  let over = false;
  const timer = timers.after(CONNECT_MS, () => sent.destroy(new Error('the connection was not accepted in time')));
  sent.on('socket', (socket) => {
    const ready = (): void => {
      reached = true;
      timer[Symbol.dispose]();
    };
    if (socket.connecting) socket.once('connect', ready);
    else ready();
  });
  sent.on('response', (answer) => {
    over = true;
    handlers.answer(answer);
  });
  sent.on('error', (fault: NodeJS.ErrnoException) => {
    timer[Symbol.dispose]();
    if (over) return;
    over = true;
    handlers.failed(fault.message || fault.code || 'the connection failed', reached);
  });
  sent.end(sending.body);
}

function optionsFrom({ url, socketPath, path, key }: BridgeTarget, sending: BridgeRequest): RequestOptions {
  const { method, headers, body, session } = sending;
  return {
    method,
    path,
    agent: false,
    headers: {
      ...headers,
      host: url?.host ?? 'localhost',
      'content-length': String(body?.length ?? 0),
      ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
      ...(session === undefined ? {} : { 'mcp-session-id': session }),
    },
    ...(url ? { host: url.hostname.replace(/^\[|\]$/g, ''), port: url.port } : { socketPath }),
  };
}

/**
 * The response class of every listener: adds the security headers, and closes the connection if the answer precedes the
 * end of the request's body. It then sends the answer and FIN, discards at most `discardBytes` of the body for at most
 * `discardMs`, and closes (RFC 9112, section 9.6), so that a client that is still sending sees the answer and no reset.
 */
import { type IncomingMessage, type OutgoingHttpHeaders, ServerResponse, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { Limits } from '../config/limits.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { guardCallback } from './guarded-http.ts';
import { declaresBody } from './http-answer.ts';

export interface ResponseParts {
  readonly runtime: Pick<Runtime, 'clock' | 'wheel' | 'bus'>;
  readonly limits: Pick<Limits, 'discardBytes' | 'discardMs'>;
}

const SECURITY_HEADERS = {
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-store',
} as const;
/** The same as text: Node checks each header again, which takes longer than writing it. */
const SECURITY_LINES = 'x-content-type-options: nosniff\r\nreferrer-policy: no-referrer\r\n';
const NO_STORE_LINE = 'cache-control: no-store\r\n';
const PAGE_POLICY = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/** Node's function that builds the headers of a response; its types do not declare it. */
type RuntimeResponse = new (
  request: IncomingMessage,
) => ServerResponse & { _storeHeader(statusLine: string, headers: unknown): void };

/** Returns the class from which `createServer` creates responses. */
export function createResponseClass({ runtime, limits }: ResponseParts): typeof ServerResponse {
  const jsonHead: PreparedHead = {
    status: 200,
    lines: ['content-type: application/json'],
    text: '',
    second: Number.NaN,
  };

  class HubResponse extends (ServerResponse as unknown as RuntimeResponse) {
    #securityLines = '';

    /**
     * Writes the headers of a JSON answer of so many bytes with status 200, which Node would build and check each time.
     * Returns false, and does nothing, if the connection closes, the answer has headers of its own, or the request is
     * not a complete HTTP/1.1 POST.
     */
    writeJsonHead(bytes: number): boolean {
      const { req } = this;
      const isPlain = req.method === 'POST' && req.complete && req.httpVersionMinor === 1 && this.shouldKeepAlive;
      const { origin, expect } = req.headers;
      if (!isPlain || origin !== undefined || expect !== undefined || this.hasHeader('connection')) return false;
      const head = headText(this, jsonHead, runtime.clock.wallMs());
      setHead(this, 200, `${head}content-length: ${bytes}\r\n\r\n`);
      return true;
    }

    override writeHead(status: number, second?: unknown, third?: unknown): this {
      const { req, socket } = this;
      if (!req.complete && declaresBody(req)) {
        this.shouldKeepAlive = false;
        if (socket) discardBody(req, socket, { runtime, limits });
      }
      const given = (third ?? (typeof second === 'string' ? undefined : second)) as OutgoingHttpHeaders | undefined;
      if (given && isPage(given)) return super.writeHead(status, withPageHeaders(given));
      this.#securityLines = given?.['cache-control'] === undefined ? SECURITY_LINES + NO_STORE_LINE : SECURITY_LINES;
      return super.writeHead(status, given);
    }

    override _storeHeader(statusLine: string, headers: unknown): void {
      super._storeHeader(statusLine + this.#securityLines, headers);
    }
  }
  return HubResponse as unknown as typeof ServerResponse;
}

/** The headers of a frequent answer, except for the date. */
export interface PreparedHead {
  readonly status: number;
  readonly lines: readonly string[];
  /** The lines as bytes (one character for each), with the date of `second`, and without the empty line at the end. */
  text: string;
  second: number;
}

interface HeadedResponse extends ServerResponse {
  /** What Node sends before the body; its types do not declare these. */
  _header: string | null;
  _keepAliveTimeout: number;
}

/** Returns header lines with the current date (`wallMs`), for a response of a kept connection. */
function headText(response: ServerResponse, head: PreparedHead, wallMs: number): string {
  const second = Math.floor(wallMs / 1000);
  if (head.second !== second) {
    head.second = second;
    const lines = [
      `HTTP/1.1 ${head.status} ${STATUS_CODES[head.status]}\r\n${SECURITY_LINES}${NO_STORE_LINE}${head.lines.join('\r\n')}`,
      `Date: ${new Date(wallMs).toUTCString()}`,
      'Connection: keep-alive',
      `Keep-Alive: timeout=${Math.floor((response as HeadedResponse)._keepAliveTimeout / 1000)}`,
    ];
    head.text = `${lines.join('\r\n')}\r\n`;
  }
  return head.text;
}

function setHead(response: ServerResponse, status: number, text: string): void {
  response.statusCode = status;
  (response as HeadedResponse)._header = text;
}

/**
 * Writes prepared headers to a response of a kept connection; call `end` with the body next. `wallMs`: the current
 * time.
 */
export function writePreparedHead(response: ServerResponse, head: PreparedHead, wallMs: number): void {
  setHead(response, head.status, `${headText(response, head, wallMs)}\r\n`);
}

function isPage({ 'content-type': type }: OutgoingHttpHeaders): boolean {
  return typeof type === 'string' && type.startsWith('text/html');
}

function withPageHeaders(given: OutgoingHttpHeaders): OutgoingHttpHeaders {
  const policy = String(given['content-security-policy'] ?? PAGE_POLICY);
  return {
    ...SECURITY_HEADERS,
    'x-frame-options': 'DENY',
    ...given,
    'content-security-policy': policy.includes('frame-ancestors') ? policy : `${policy}; frame-ancestors 'none'`,
  };
}

/** Prepares the close in stages; it begins when Node has handed over the answer and would destroy the socket. */
function discardBody(request: IncomingMessage, socket: Socket, { runtime, limits }: ResponseParts): void {
  let left = limits.discardBytes;
  const stop = (): void => {
    // Further data stays in the kernel's buffer, which fills and stops the sender.
    request.pause();
    socket.pause();
  };
  request.on('data', (chunk: Buffer) => {
    left -= chunk.length;
    if (left <= 0) stop();
  });
  request.on('error', () => {});
  const destroySoon = socket.destroySoon.bind(socket);
  socket.destroySoon = () => {
    if (request.complete) return destroySoon();
    socket.end();
    const end = runtime.wheel.add(runtime.clock.nowMs() + limits.discardMs, () => socket.destroy());
    socket.once(
      'close',
      guardCallback(runtime, socket, () => runtime.wheel.remove(end)),
    );
    request.once('end', () => socket.destroy());
  };
}

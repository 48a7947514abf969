/**
 * A server that reads HTTP requests off plain or TLS sockets and leaves every byte of the answer to the test; and an
 * asker that keeps in order what its handler hears. For tests of the pool in `src/net`.
 * Promises: `close` destroys what is open; requests are counted by connection.
 */
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import type {
  EgressPool,
  EgressRequest,
  ResponseController,
  ResponseHandler,
  ResponseHeaders,
} from '../../src/net/egress.ts';

export interface RawRequest {
  readonly line: string;
  /** The head as it came. */
  readonly head: string;
  readonly body: Buffer;
  readonly socket: Socket;
  /** Number of the connection, from 1. */
  readonly connection: number;
}

export interface RawServer {
  readonly port: number;
  readonly requests: readonly RawRequest[];
  /** Sockets that are open. */
  readonly open: ReadonlySet<Socket>;
  /** Connections so far. */
  readonly connections: number;
  close(): Promise<void>;
}

export interface RawOptions {
  readonly tls?: { readonly key: Buffer; readonly cert: Buffer };
  /** The server's half of a connection stays open when the hub ends its own. */
  readonly allowHalfOpen?: boolean;
  readonly greet?: (socket: Socket) => void;
}

/** `answer` is called for each whole request. */
export async function startRawServer(
  answer: (request: RawRequest) => void,
  { tls, allowHalfOpen = false, greet }: RawOptions = {},
): Promise<RawServer> {
  const requests: RawRequest[] = [];
  const open = new Set<Socket>();
  let connections = 0;
  const serve = (socket: Socket): void => {
    connections += 1;
    const connection = connections;
    open.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => open.delete(socket));
    greet?.(socket);
    let held = Buffer.alloc(0);
    socket.on('data', (chunk) => {
      held = Buffer.concat([held, chunk]);
      for (;;) {
        const end = held.indexOf('\r\n\r\n');
        if (end < 0) return;
        const head = held.toString('latin1', 0, end + 2);
        const length = Number(/^content-length: (\d+)\r$/m.exec(head)?.[1] ?? 0);
        if (held.length < end + 4 + length) return;
        const body = Buffer.from(held.subarray(end + 4, end + 4 + length));
        held = held.subarray(end + 4 + length);
        const request = { line: head.slice(0, head.indexOf('\r\n')), head, body, socket, connection };
        requests.push(request);
        answer(request);
      }
    });
  };
  const server = tls ? createTlsServer({ ...tls, allowHalfOpen }, serve) : createTcpServer({ allowHalfOpen }, serve);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    requests,
    open,
    get connections() {
      return connections;
    },
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of open) socket.destroy();
      await closed;
    },
  };
}

/** An answer with a length. */
export function reply(body: string | Buffer, ...fields: string[]): Buffer {
  const bytes = Buffer.from(body);
  const head = ['HTTP/1.1 200 OK', `content-length: ${bytes.length}`, ...fields, '', ''].join('\r\n');
  return Buffer.concat([Buffer.from(head, 'latin1'), bytes]);
}

export interface ClientQuestions {
  readonly controller: ResponseController;
  /** `start`, `status`, `data`, `end`, `error` as they came. */
  readonly heard: readonly string[];
  readonly status: () => number;
  readonly headers: () => ResponseHeaders;
  readonly bytes: () => number;
  /** Body; rejects with what `onResponseError` was given. */
  readonly body: Promise<Buffer>;
}

export interface AskOptions extends Partial<EgressRequest> {
  /** Called when the handler has noted the event. */
  readonly on?: (event: string, controller: ResponseController) => void;
}

/** Dispatches a request; GET / unless told otherwise. */
export function ask(pool: EgressPool, { on, ...request }: AskOptions = {}): ClientQuestions {
  const heard: string[] = [];
  const chunks: Buffer[] = [];
  let status = 0;
  let bytes = 0;
  let headers: ResponseHeaders = {};
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  promise.catch(() => {});
  const note = (event: string, controller: ResponseController): void => {
    heard.push(event);
    on?.(event, controller);
  };
  const handler: ResponseHandler = {
    onRequestStart: (controller) => note('start', controller),
    onResponseStart(controller, code, fields) {
      status = code;
      headers = fields;
      note('status', controller);
    },
    onResponseData(controller, chunk) {
      chunks.push(chunk);
      bytes += chunk.length;
      note('data', controller);
    },
    onResponseEnd(controller) {
      resolve(Buffer.concat(chunks));
      note('end', controller);
    },
    onResponseError(controller, fault) {
      reject(fault);
      note('error', controller);
    },
  };
  const whole = { method: 'GET', path: '/', headers: [], body: null, ...request } as const;
  const controller = pool.dispatch(whole, handler);
  return { controller, heard, status: () => status, headers: () => headers, bytes: () => bytes, body: promise };
}

/**
 * The HTTP listener: connections come from the supervisor (`accept`), or in tests and on the private socket from
 * `listen`.
 * Guarantees: at most `connections`; at the limit the owner with most idle ones loses one; one response at a time on
 * each; slow headers and bodies time out; `stop` lets answers finish, ends idle connections, and ends by the deadline.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { OriginRules } from '../auth/origin.ts';
import type { TrustedProxies } from '../auth/trusted-proxies.ts';
import type { Limits } from '../config/limits.ts';
import { HubError } from '../model/errors.ts';
import { Refusal } from '../model/outcome.ts';
import type { Deadline } from '../runtime/deadline.ts';
import { RequestCounts, type RequestTotals } from '../runtime/request-counts.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { Connection, type ConnectionParts } from './connection.ts';
import { ConnectionRefusals } from './connection-refusals.ts';
import { ConnectionTable } from './connection-table.ts';
import { pageHeaders } from './cors.ts';
import { followTimeouts } from './follow-timeouts.ts';
import { guardCallback, guardEmitter, type HttpClasses } from './guarded-http.ts';
import { watchHalfClosed } from './half-closed.ts';
import { refuseRequest } from './http-answer.ts';
import { createHttpClasses } from './http-classes.ts';
import type { Pacing } from './pacing.ts';
import { answerTo, NO_PROXY } from './raw-answer.ts';
import { ReadPacing } from './read-pacing.ts';
import type { RefusalTraces } from './refusal-trace.ts';
import type { Handler } from './router.ts';
import type { SlowReaders } from './slow-reader.ts';
import { watchUnreachableClients } from './unreachable-clients.ts';

/** Interval at which slow headers and bodies are checked, ms. */
const CHECK_MS = 500;
const MAX_HEADER_BYTES = 16_384;
/** Interval at which a stop looks for connections that have ended, ms. */
const STOP_LOOK_MS = 50;

export type Where = { readonly port: number; readonly host: string } | { readonly path: string };

export interface ListenerParts {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly name: string;
  readonly handler: Handler;
  readonly slowReaders: SlowReaders;
  readonly proxies: Pick<TrustedProxies, 'has'>;
  /** Returns which pages in browsers may read answers; absent for none. */
  readonly pages?: () => OriginRules;
  /** Records refused requests; absent when they are not recorded. */
  readonly traces?: RefusalTraces;
  /** Absent when every request is started as it arrives. */
  readonly pacing?: Pacing;
  /** `pacing` also decides when connections are read. */
  readonly pacesReads?: boolean;
  /** Shared by the listeners of a process; absent when they are created for this one. */
  readonly classes?: HttpClasses;
}

export class Listener {
  readonly #parts: ListenerParts;
  readonly #counts = new RequestCounts();
  readonly #refusals: ConnectionRefusals;
  readonly #table: ConnectionTable;
  /** The connections that are not refused. */
  readonly #open = new Map<Socket, Connection>(); // bounded by: connections
  /** How requests of connections are started. */
  readonly #requests: ConnectionParts;
  readonly #server: Server;
  readonly #unreachable: Disposable;
  readonly #halfClosed: (socket: Socket) => void;
  /** Connections end with their next answer. */
  #isClosing = false;

  constructor(parts: ListenerParts) {
    const { runtime, limits, name, proxies, pacing, traces, classes = createHttpClasses(parts) } = parts;
    this.#parts = parts;
    this.#refusals = new ConnectionRefusals({ runtime, limits, counts: this.#counts, traces });
    const close = (socket: Socket, isNew: boolean): void => this.#closeRemoved(socket, isNew);
    this.#table = new ConnectionTable({ runtime, limits, name, proxies, close });
    this.#requests = this.#createRequests();
    this.#server = createHttpServer(runtime, limits, classes);
    if (parts.pacesReads) {
      const ownerOf = (socket: Socket): string | undefined => this.#table.ownerOf(socket);
      pacing?.paceReads(new ReadPacing({ limits, connections: this.#open, ownerOf }));
    }
    this.#unreachable = watchUnreachableClients({ runtime, limits, sockets: () => this.#open.keys() });
    this.#halfClosed = watchHalfClosed({ runtime, limits, openOf: (socket) => this.#open.get(socket)?.open });
    this.#handleRequests(this.#server);
    this.#handleOtherEvents(this.#server);
  }

  get connections(): number {
    return this.#table.size;
  }

  /** Since the start. */
  counts(): RequestTotals {
    return this.#counts.totals();
  }

  /** Takes over an accepted connection. */
  accept(socket: Socket): void {
    socket.allowHalfOpen = true;
    this.#server.emit('connection', socket);
    // The supervisor paused it, so that no byte is lost during the handover.
    socket.resume();
  }

  /** Listens itself; returns the port (0 for a unix socket). */
  async listen(where: Where, deadline: Deadline): Promise<number> {
    const { runtime, name } = this.#parts;
    const server = this.#server;
    const listening = new Promise<number>((resolve, reject) => {
      server.once('error', (cause) =>
        reject(new HubError('internal', { message: `cannot listen: ${cause.message}`, cause })),
      );
      server.listen(where, () => {
        const address = server.address();
        resolve(typeof address === 'object' && address ? address.port : 0);
      });
    });
    const late = (): void => void server.close();
    return runtime.waits.for(listening, { label: 'service-start', owner: name, deadline, late });
  }

  /** Ends each connection with its next answer; idle ones stay, because a client may be about to send. */
  retire(): void {
    this.#isClosing = true;
  }

  /** Accepts no new connections; ends idle ones. */
  close(): void {
    this.#isClosing = true;
    if (this.#server.listening) this.#server.close();
    this.#server.closeIdleConnections();
  }

  /** Ends all. */
  async stop(deadline: Deadline): Promise<void> {
    this.#isClosing = true;
    this.#unreachable[Symbol.dispose]();
    if (this.#server.listening) this.#server.close();
    this.#endUnanswered();
    if (this.#table.size > 0) await this.#ended(deadline);
    this.#server.closeAllConnections();
  }

  #createRequests(): ConnectionParts {
    const { limits, pacing } = this.#parts;
    return {
      maxWaiting: () => limits.pipelined,
      maxWaitingBytes: () => limits.pipelinedBytes,
      start: (arrived) => {
        const { request, response } = arrived;
        // While draining, a kept-alive connection must not bring new work.
        if (this.#isClosing && !response.headersSent) response.setHeader('connection', 'close');
        this.#counts.requests += 1;
        if (request.headers.origin !== undefined)
          for (const [name, value] of this.#pageHeaders(request)) response.setHeader(name, value);
        this.#table.begins(request.socket);
        if (pacing) pacing.start(arrived);
        else arrived.handle(request, response);
      },
      ended: (response) => this.#counts.closed(response.headersSent ? response.statusCode : undefined),
      idle: (socket) => this.#table.rests(socket),
    };
  }

  #admit(socket: Socket): void {
    if (!this.#table.admit(socket)) return this.#refusals.refuse(socket);
    const { runtime, pacing, pacesReads } = this.#parts;
    this.#open.set(socket, new Connection(socket, this.#requests));
    if (pacesReads)
      socket.on(
        'end',
        guardCallback(runtime, socket, () => pacing?.noteEnd()),
      );
    socket.on(
      'end',
      guardCallback(runtime, socket, () => this.#halfClosed(socket)),
    );
    socket.on(
      'close',
      guardCallback(runtime, socket, () => {
        this.#forget(socket);
        this.#table.leave(socket);
      }),
    );
  }

  #handleRequests(server: Server): void {
    const { limits, handler } = this.#parts;
    const take =
      (handle: Handler): Handler =>
      (request, response) => {
        const isTooMany = request.rawHeaders.length > 2 * limits.headers;
        this.#open.get(request.socket)?.take({ request, response, handle: isTooMany ? refuseHeaders : handle });
      };
    server.on('request', take(handler));
    // `body.ts` requests the body once the sender was identified.
    server.on('checkContinue', take(handler));
    server.on('checkExpectation', take(refuseExpectation));
  }

  #handleOtherEvents(server: Server): void {
    server.on('connection', (socket: Socket) => this.#admit(socket));
    server.on('clientError', (fault: NodeJS.ErrnoException, socket) => this.#refuseUnreadable(fault, socket as Socket));
    // Without a listener Node closes the connection of a CONNECT without an answer.
    server.on('connect', (request, socket) => {
      if (this.#open.get(socket as Socket)?.open || !socket.writable) return socket.destroy();
      this.#refusals.refuseUnread(socket as Socket, NO_PROXY, this.#pageHeaders(request));
    });
  }

  /** Refuses a request that Node could not read. */
  #refuseUnreadable(fault: NodeJS.ErrnoException, socket: Socket): void {
    const connection = this.#open.get(socket);
    // The late data is the body of a request that was answered.
    if (fault.code === 'ERR_HTTP_REQUEST_TIMEOUT' && connection?.isBodyUnread) return void socket.destroy();
    const response = connection?.open;
    // Nothing may be written into an open response, nor in place of a later one.
    if (response && (response.headersSent || response.req.complete)) return void socket.destroy();
    if (fault.code === 'ECONNRESET' || !socket.writable) return void socket.destroy();
    this.#refusals.refuseUnread(socket, answerTo(fault.code), response && this.#pageHeaders(response.req));
  }

  #pageHeaders(request: IncomingMessage): ReturnType<typeof pageHeaders> {
    const { pages } = this.#parts;
    return pages === undefined ? [] : pageHeaders(request, pages());
  }

  /** Closes a connection that the table has removed. */
  #closeRemoved(socket: Socket, isNew: boolean): void {
    this.#forget(socket);
    // A client reopens a kept connection that was closed; a new connection gets the reason.
    if (isNew) this.#refusals.refuse(socket);
    else socket.destroy();
  }

  #forget(socket: Socket): void {
    this.#open.get(socket)?.close();
    this.#open.delete(socket);
  }

  /** Ends connections without an open answer: idle ones, and those with an incomplete request. */
  #endUnanswered(): void {
    for (const [socket, { open: response }] of this.#open) if (!response?.req.complete) socket.destroy();
  }

  /** Settles when all connections have ended, or at the deadline. */
  #ended(deadline: Deadline): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const look = this.#parts.runtime.timers.every(STOP_LOOK_MS, () => {
      this.#endUnanswered();
      if (this.#table.size === 0) end();
    });
    const end = (): void => {
      look[Symbol.dispose]();
      resolve();
    };
    deadline.onEnd(end);
    return promise;
  }
}

function createHttpServer(runtime: Runtime, limits: Limits, classes: HttpClasses): Server {
  const server = createServer({
    connectionsCheckingInterval: CHECK_MS,
    maxHeaderSize: MAX_HEADER_BYTES,
    noDelay: true,
    // Repeated lines form a list (`header-values.ts`); Node would keep the first Host, Authorization or Content-Type.
    joinDuplicateHeaders: true,
    // `router.ts` refuses requests without Host: Node's own 400 has no body, and is not recorded.
    requireHostHeader: false,
    ...classes,
  });
  guardEmitter(runtime, server, undefined);
  followTimeouts(server, limits);
  // Older versions of Node drop further headers, perhaps a proxy's, without a refusal; one more shows that.
  server.maxHeadersCount = limits.headers + 1;
  // A client may close its half and wait for the answer.
  Object.assign(server, { httpAllowHalfOpen: true });
  return server;
}

function refuseHeaders(request: IncomingMessage, response: ServerResponse): void {
  // A header that announces a body may have been dropped.
  response.shouldKeepAlive = false;
  refuseRequest(request, response, new Refusal('headers-too-large'));
}

function refuseExpectation(request: IncomingMessage, response: ServerResponse): void {
  refuseRequest(request, response, new Refusal('expectation-failed'));
}

/**
 * The hub's HTTP front: connections come from the supervisor (`accept`) or, in tests and on the private socket, from `listen`.
 * Promises: never more than `connections` at once (a reserve of descriptors stays); when they are all taken, the owner with most waiting ones makes
 * place (`connection-table.ts`); one response at a time on each; slow headers and bodies are cut by the runtime's own watch; clients that vanished are noticed; `stop` lets answers in progress finish, ends idle connections at once, and always ends by the deadline.
 */
import { createServer, type IncomingMessage } from 'node:http';
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
import { ConnectionTable } from './connection-table.ts';
import { pageHeaders } from './cors.ts';
import { guardCallback, guardEmitter, guardedClasses, type HttpClasses } from './guarded-http.ts';
import { watchHalfClosed } from './half-closed.ts';
import { refuseRequest } from './http-answer.ts';
import { createResponseClass } from './http-response.ts';
import type { Pacing } from './pacing.ts';
import { answerTo, BUSY, NO_PROXY, type RawAnswer } from './raw-answer.ts';
import { ReadPacing } from './read-pacing.ts';
import type { RefusalTraces } from './refusal-trace.ts';
import type { Handler } from './router.ts';
import type { SlowReaders } from './slow-reader.ts';
import { watchUnreachableClients } from './unreachable-clients.ts';

/** Headers and bodies that drip are looked at this often; a look costs nothing where none is late. */
const CHECK_MS = 500;
const MAX_HEADER_BYTES = 16_384;
/** Connections that get a 503 at the same time; others beyond them are closed without an answer. */
const BEING_REFUSED = 256;

export type Where = { readonly port: number; readonly host: string } | { readonly path: string };

export interface Listener {
  /** Takes over an accepted connection. */
  accept(socket: Socket): void;
  /** Listens by itself; returns the port (0 for a unix socket). */
  listen(where: Where, deadline: Deadline): Promise<number>;
  readonly connections: number;
  /** Since the start. */
  counts(): RequestTotals;
  /** Each connection ends with its next answer; those that bring nothing stay, for a client may be sending just now. */
  retire(): void;
  /** No new connections; ends idle ones. */
  close(): void;
  /** Ends all. */
  stop(deadline: Deadline): Promise<void>;
}

export interface ListenerParts {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly name: string;
  readonly handler: Handler;
  readonly slowReaders: SlowReaders;
  readonly proxies: Pick<TrustedProxies, 'has'>;
  /** Which pages of browsers may read the answers, whoever gives them; absent = none. */
  readonly pages?: () => OriginRules;
  /** Records refused requests; absent = nobody does. */
  readonly traces?: RefusalTraces;
  /** Absent = every request is started as it arrives. */
  readonly pacing?: Pacing;
  /** `pacing` also decides when connections are read. */
  readonly pacesReads?: boolean;
  /** Shared by the listeners of a process; absent = made for this one. */
  readonly classes?: HttpClasses;
}

/**
 * Makes the classes of requests and responses, once for a process: with classes of its own for each listener, all code that handles requests would
 * meet objects of several hidden classes and be slower.
 */
export function createHttpClasses({
  runtime,
  limits,
  slowReaders,
  traces,
}: Pick<ListenerParts, 'runtime' | 'limits' | 'slowReaders' | 'traces'>): HttpClasses {
  const Response = createResponseClass({ runtime, limits });
  return guardedClasses(runtime, Response, (response) => slowReaders.watch(response), traces?.refused);
}

export function createListener(parts: ListenerParts): Listener {
  const { runtime, limits, handler, pacing, traces, classes = createHttpClasses(parts) } = parts;
  const connections = new ConnectionTable({
    ...{ runtime, limits, name: parts.name, proxies: parts.proxies },
    close(socket, isNew) {
      forget(socket);
      // A client reopens a kept connection that was closed; a new connection gets the reason.
      if (isNew) refuse(socket);
      else socket.destroy();
    },
  });
  const refused = new Set<Socket>(); // bounded by: BEING_REFUSED
  const server = createServer({
    connectionsCheckingInterval: CHECK_MS,
    headersTimeout: limits.headersMs,
    requestTimeout: Math.max(limits.requestMs, limits.headersMs),
    keepAliveTimeout: limits.keepAliveMs,
    maxHeaderSize: MAX_HEADER_BYTES,
    noDelay: true,
    // Repeated lines are a list, of any header (`header-values.ts`); the runtime would keep the first Host, Authorization or Content-Type only.
    joinDuplicateHeaders: true,
    // `router.ts` refuses requests without Host: the runtime's own 400 has no body, and nobody records it.
    requireHostHeader: false,
    ...classes,
  });
  guardEmitter(runtime, server, undefined);
  // Older runtimes leave out what is beyond this, perhaps what a proxy added, instead of refusing the request; one more shows that.
  server.maxHeadersCount = limits.headers + 1;
  // A client may end its half and wait for the answer.
  Object.assign(server, { httpAllowHalfOpen: true });
  let closing = false;
  const counts = new RequestCounts();
  const open = new Map<Socket, Connection>(); // bounded by: connections
  const paced = parts.pacesReads ? pacing : undefined;
  paced?.paceReads(new ReadPacing({ limits, connections: open, ownerOf: (socket) => connections.ownerOf(socket) }));
  const vanished = watchUnreachableClients({ runtime, limits, sockets: () => open.keys() });
  const halfClosed = watchHalfClosed({ runtime, limits, openOf: (socket) => open.get(socket)?.open });

  const requests: ConnectionParts = {
    maxWaiting: () => limits.pipelined,
    maxWaitingBytes: () => limits.pipelinedBytes,
    start(arrived) {
      const { request, response } = arrived;
      // While draining, a kept-alive connection must not bring new work.
      if (closing && !response.headersSent) response.setHeader('connection', 'close');
      counts.requests += 1;
      if (request.headers.origin !== undefined)
        for (const [name, value] of pagesOf(request)) response.setHeader(name, value);
      connections.begins(request.socket);
      if (pacing) pacing.start(arrived);
      else arrived.handle(request, response);
    },
    ended: (response) => counts.closed(response.headersSent ? response.statusCode : undefined),
    idle(socket) {
      connections.rests(socket);
    },
  };

  const pagesOf = (request: IncomingMessage): ReturnType<typeof pageHeaders> =>
    parts.pages === undefined ? [] : pageHeaders(request, parts.pages());

  function forget(socket: Socket): void {
    open.get(socket)?.close();
    open.delete(socket);
  }

  /** Answers 503 and closes in stages, so that a client which is sending sees the answer. */
  function refuse(socket: Socket): void {
    traces?.unreadable(socket.remoteAddress ?? '', BUSY.refusal);
    if (refused.size >= BEING_REFUSED) return void socket.destroy();
    counts.rejected += 1;
    refused.add(socket);
    answerAndClose(socket, BUSY.text(), () => refused.delete(socket));
  }

  /** Answers and closes in stages: a client that keeps its half open does not keep the connection. */
  function answerAndClose(socket: Socket, text: string, closed: () => void = () => {}): void {
    socket.end(text, 'latin1');
    const end = runtime.wheel.add(runtime.clock.nowMs() + limits.discardMs, () => socket.destroy());
    socket.once(
      'close',
      guardCallback(runtime, socket, () => {
        runtime.wheel.remove(end);
        closed();
      }),
    );
  }

  /** Answers in the place of a request that the runtime has not handed over, or whose body it could not read. */
  function refuseUnread(socket: Socket, answer: RawAnswer, request?: IncomingMessage): void {
    counts.rejected += 1;
    traces?.unreadable(socket.remoteAddress ?? '', answer.refusal);
    answerAndClose(socket, answer.text(request ? pagesOf(request) : []));
  }

  server.on('connection', (socket: Socket) => {
    if (!connections.admit(socket)) return refuse(socket);
    open.set(socket, new Connection(socket, requests));
    if (paced)
      socket.on(
        'end',
        guardCallback(runtime, socket, () => paced.noteEnd()),
      );
    socket.on(
      'end',
      guardCallback(runtime, socket, () => halfClosed(socket)),
    );
    socket.on(
      'close',
      guardCallback(runtime, socket, () => {
        forget(socket);
        connections.leave(socket);
      }),
    );
  });
  server.on('clientError', (fault: NodeJS.ErrnoException, socket) => {
    const connection = open.get(socket as Socket);
    // What came too late is the body of a request that has its answer.
    if (fault.code === 'ERR_HTTP_REQUEST_TIMEOUT' && connection?.isBodyUnread) return socket.destroy();
    const response = connection?.open;
    // Nothing may be written into a response that is under way, nor in the place of one that is still to come.
    if (response && (response.headersSent || response.req.complete)) return socket.destroy();
    if (fault.code === 'ECONNRESET' || !socket.writable) return socket.destroy();
    refuseUnread(socket as Socket, answerTo(fault.code), response?.req);
  });
  // Without a listener the runtime closes the connection of a CONNECT without an answer.
  server.on('connect', (request, socket) => {
    if (open.get(socket as Socket)?.open || !socket.writable) return socket.destroy();
    refuseUnread(socket as Socket, NO_PROXY, request);
  });
  const refuseHeaders: Handler = (request, response) => {
    // What announces a body may be among the headers that were left out.
    response.shouldKeepAlive = false;
    refuseRequest(request, response, new Refusal('headers-too-large'));
  };
  const take =
    (handle: Handler): Handler =>
    (request, response) => {
      const isTooMany = request.rawHeaders.length > 2 * limits.headers;
      open.get(request.socket)?.take({ request, response, handle: isTooMany ? refuseHeaders : handle });
    };
  server.on('request', take(handler));
  // The body is asked for by whoever reads it (`body.ts`), once the sender has been identified.
  server.on('checkContinue', take(handler));
  server.on(
    'checkExpectation',
    take((request, response) => refuseRequest(request, response, new Refusal('expectation-failed'))),
  );

  /** Ends connections on which no answer is under way: idle ones, and those whose request is only half there. */
  function endUnanswered(): void {
    for (const [socket, { open: response }] of open) if (!response?.req.complete) socket.destroy();
  }

  return {
    accept(socket) {
      socket.allowHalfOpen = true;
      server.emit('connection', socket);
      // The supervisor paused it, so that no byte is lost on the way.
      socket.resume();
    },
    async listen(where, deadline) {
      const listening = new Promise<number>((resolve, reject) => {
        server.once('error', (cause) =>
          reject(new HubError('internal', { message: `cannot listen: ${cause.message}`, cause })),
        );
        server.listen(where, () => {
          const address = server.address();
          resolve(typeof address === 'object' && address ? address.port : 0);
        });
      });
      return runtime.waits.for(listening, {
        label: 'service-start',
        owner: parts.name,
        deadline,
        late: () => server.close(),
      });
    },
    get connections() {
      return connections.size;
    },
    counts: () => counts.totals(),
    retire() {
      closing = true;
    },
    close() {
      closing = true;
      if (server.listening) server.close();
      server.closeIdleConnections();
    },
    async stop(deadline) {
      closing = true;
      vanished[Symbol.dispose]();
      if (server.listening) server.close();
      endUnanswered();
      const ended = new Promise<void>((resolve) => {
        const look = runtime.timers.every(50, () => {
          endUnanswered();
          if (connections.size > 0) return;
          look[Symbol.dispose]();
          resolve();
        });
        deadline.onEnd(() => {
          look[Symbol.dispose]();
          resolve();
        });
      });
      if (connections.size > 0) await ended;
      server.closeAllConnections();
    },
  };
}

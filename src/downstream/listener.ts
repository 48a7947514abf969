/**
 * The HTTP listener: connections come from the supervisor (`accept`), or in tests and on the private socket from
 * `listen`.
 * Guarantees: at most `connections`; at the limit the owner with most idle ones loses one; one response at a time on
 * each; slow headers and bodies time out; `stop` lets answers finish, ends idle connections, and ends by the deadline.
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

export type Where = { readonly port: number; readonly host: string } | { readonly path: string };

export interface Listener {
  /** Takes over an accepted connection. */
  accept(socket: Socket): void;
  /** Listens itself; returns the port (0 for a unix socket). */
  listen(where: Where, deadline: Deadline): Promise<number>;
  readonly connections: number;
  /** Since the start. */
  counts(): RequestTotals;
  /** Ends each connection with its next answer; idle ones stay, because a client may be about to send. */
  retire(): void;
  /** Accepts no new connections; ends idle ones. */
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

export function createListener(parts: ListenerParts): Listener {
  const { runtime, limits, handler, pacing, traces, classes = createHttpClasses(parts) } = parts;
  const counts = new RequestCounts();
  const refusals = new ConnectionRefusals({ runtime, limits, counts, traces });
  const connections = new ConnectionTable({
    runtime,
    limits,
    name: parts.name,
    proxies: parts.proxies,
    close(socket, isNew) {
      forget(socket);
      // A client reopens a kept connection that was closed; a new connection gets the reason.
      if (isNew) refusals.refuse(socket);
      else socket.destroy();
    },
  });
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
  let closing = false;
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

  server.on('connection', (socket: Socket) => {
    if (!connections.admit(socket)) return refusals.refuse(socket);
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
    // The late data is the body of a request that was answered.
    if (fault.code === 'ERR_HTTP_REQUEST_TIMEOUT' && connection?.isBodyUnread) return socket.destroy();
    const response = connection?.open;
    // Nothing may be written into an open response, nor in place of a later one.
    if (response && (response.headersSent || response.req.complete)) return socket.destroy();
    if (fault.code === 'ECONNRESET' || !socket.writable) return socket.destroy();
    refusals.refuseUnread(socket as Socket, answerTo(fault.code), response && pagesOf(response.req));
  });
  // Without a listener Node closes the connection of a CONNECT without an answer.
  server.on('connect', (request, socket) => {
    if (open.get(socket as Socket)?.open || !socket.writable) return socket.destroy();
    refusals.refuseUnread(socket as Socket, NO_PROXY, pagesOf(request));
  });
  const refuseHeaders: Handler = (request, response) => {
    // A header that announces a body may have been dropped.
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
  // `body.ts` requests the body once the sender was identified.
  server.on('checkContinue', take(handler));
  server.on(
    'checkExpectation',
    take((request, response) => refuseRequest(request, response, new Refusal('expectation-failed'))),
  );

  /** Ends connections without an open answer: idle ones, and those with an incomplete request. */
  function endUnanswered(): void {
    for (const [socket, { open: response }] of open) if (!response?.req.complete) socket.destroy();
  }

  return {
    accept(socket) {
      socket.allowHalfOpen = true;
      server.emit('connection', socket);
      // The supervisor paused it, so that no byte is lost during the handover.
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

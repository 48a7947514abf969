/**
 * A small Streamable HTTP MCP server on raw node:http (no SDK) that can misbehave in every way the catalogue of
 * failures names. As a module: `const server = await startFaultHttp({ answer: 'sse' })` → { url, port, seen, flags,
 * close() }; flags may be changed while it runs. As a program: `node test/support/fault-http.ts '{"silent":true}'`;
 * listens on PORT (or a free port), prints {"url":…} as one line.
 *
 * Tools: echo {text} · add {a,b} · sleep {ms} · big {bytes} · progress {steps,ms} · report {text,steps,ms} as in
 * `fault-stdio.ts`, whose log lines are said on the GET streams too.
 * Normal behaviour (no flag): JSON answers, a session id at initialize, GET stream, DELETE ends the session, unknown
 * session = 404. Faults that spoil answers apply to the methods in `faultMethods` (default: tools/call only); all
 * flags, each with its line, are in `fault-http-flags.ts`.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { pathToFileURL } from 'node:url';
import { event, json, later, repeat, reply, serveRequest, spoil } from './fault-http-answers.ts';
import { emptySeen, type FaultHttpFlags, type FaultHttpSeen, type Message, type State } from './fault-http-flags.ts';

export interface FaultHttp {
  readonly url: string;
  readonly port: number;
  readonly seen: FaultHttpSeen;
  readonly flags: FaultHttpFlags;
  close(): Promise<void>;
}

export async function startFaultHttp(flags: FaultHttpFlags = {}): Promise<FaultHttp> {
  const state: State = {
    flags,
    seen: emptySeen(),
    sessions: new Map(),
    timers: new Set(),
    streams: new Set(),
    next: 1,
  };
  const sockets = new Set<Socket>();
  const server = createServer((request, response) => serve(state, request, response));
  server.keepAliveTimeout = flags.idleCloseMs ?? 5000;
  // Node closes an idle socket one second after the hint it gives; here the figure is meant to the point.
  Object.assign(server, { keepAliveTimeoutBuffer: 0 });
  server.on('connection', (socket) => {
    sockets.add(socket);
    state.seen.sockets += 1;
    state.seen.socketsOpen += 1;
    socket.on('error', () => {});
    socket.on('close', () => {
      sockets.delete(socket);
      state.seen.socketsOpen -= 1;
    });
  });
  await listen(server, flags.port ?? 0, flags.host ?? '127.0.0.1');
  const port = (server.address() as AddressInfo).port;
  return {
    url: `http://127.0.0.1:${port}/mcp`,
    port,
    seen: state.seen,
    flags,
    close: async () => {
      for (const timer of state.timers) clearTimeout(timer);
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

function listen(server: Server, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => resolve());
  });
}

function count(state: State, method: string): void {
  const { seen } = state;
  seen.byMethod[method] = (seen.byMethod[method] ?? 0) + 1;
  seen.order.push(method);
  if (seen.order.length > 1000) seen.order.shift();
}

function serve(state: State, request: IncomingMessage, response: ServerResponse): void {
  const { seen, flags } = state;
  seen.requests += 1;
  seen.open += 1;
  response.on('close', () => {
    seen.open -= 1;
    if (!response.writableFinished) seen.closes += 1;
  });
  if (flags.idleHint === false) response.setHeader('Keep-Alive', 'none');
  if (request.method === 'GET') serveGet(state, request, response);
  else if (request.method === 'DELETE') serveDelete(state, request, response);
  else readBody(request, (text) => servePost(state, request, response, text));
}

function readBody(request: IncomingMessage, done: (text: string) => void): void {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => done(Buffer.concat(chunks).toString('utf8')));
}

function serveGet(state: State, request: IncomingMessage, response: ServerResponse): void {
  const { flags } = state;
  count(state, 'GET');
  if (!sessionFits(state, request, response) || flags.get === 'silent') return;
  later(state, flags.getMs ?? 0, () => answerGet(state, response));
}

function answerGet(state: State, response: ServerResponse): void {
  const { flags, seen } = state;
  if (flags.get === 'none' || flags.get === 'fails') {
    response.writeHead(flags.get === 'none' ? 405 : 503).end();
    return;
  }
  response.writeHead(200, { 'Content-Type': 'text/event-stream' });
  response.write(flags.retryMs === undefined ? ': hello\n\n' : `retry: ${flags.retryMs}\n\n`);
  seen.getOpened += 1;
  seen.getStreams += 1;
  state.streams.add(response);
  response.on('close', () => {
    state.streams.delete(response);
    seen.getStreams -= 1;
  });
  if (flags.get === 'ends') response.end();
  else if (flags.storm)
    repeat(state, response, 100, () => {
      const text = event({ jsonrpc: '2.0', method: 'notifications/tools/list_changed' });
      response.write(text.repeat(Math.max(1, Math.round((flags.storm ?? 0) / 10))));
    });
}

function serveDelete(state: State, request: IncomingMessage, response: ServerResponse): void {
  count(state, 'DELETE');
  if (state.flags.swallowDelete) return;
  const id = String(request.headers['mcp-session-id'] ?? '');
  const known = state.sessions.delete(id);
  state.seen.sessions = state.sessions.size;
  response.writeHead(known ? 200 : 404).end();
}

/** False = answered (404 or 400): the session is unknown or has been forgotten. */
function sessionFits(state: State, request: IncomingMessage, response: ServerResponse): boolean {
  const { flags, sessions, seen } = state;
  if (flags.session === false) return true;
  const id = String(request.headers['mcp-session-id'] ?? '');
  const used = sessions.get(id);
  if (used !== undefined && (flags.forgetAfter === undefined || used < flags.forgetAfter)) {
    sessions.set(id, used + 1);
    return true;
  }
  sessions.delete(id);
  seen.sessions = sessions.size;
  const error = { jsonrpc: '2.0', id: null, error: { code: -32000, message: 'No valid session ID provided' } };
  if (flags.forgetWith400) json(response, 400, error);
  else response.writeHead(404, { 'Content-Type': 'text/plain' }).end('session not found');
  return false;
}

function messageFrom(text: string): Message | undefined {
  try {
    return JSON.parse(text) as Message;
  } catch {
    return undefined;
  }
}

function servePost(state: State, request: IncomingMessage, response: ServerResponse, text: string): void {
  const { flags, seen } = state;
  const parsed = messageFrom(text);
  // A network that spoils bytes may have spoilt these.
  if (parsed === undefined) {
    response.writeHead(400).end();
    return;
  }
  const message = { ...parsed, raw: text };
  const method = message.method ?? 'reply';
  count(state, method);
  flags.heard?.(message);
  seen.lastHeaders = request.headers;
  if ((flags.resets ?? 0) > 0 && isHit(flags, method)) {
    flags.resets = (flags.resets ?? 0) - 1;
    request.socket.resetAndDestroy();
    return;
  }
  if (method === 'initialize') {
    later(state, flags.slowInitMs ?? 0, () => serveInitialize(state, response, message));
    return;
  }
  if (!sessionFits(state, request, response)) return;
  if (message.id === undefined || message.method === undefined) {
    if (method === 'notifications/initialized' && flags.swallowInitialized) return;
    later(state, flags.notificationMs ?? 0, () => response.writeHead(202).end());
    return;
  }
  if (isHit(flags, method) && spoil(state, response, message)) return;
  serveRequest(state, response, message);
}

function isHit(flags: FaultHttpFlags, method: string): boolean {
  const methods = flags.faultMethods ?? ['tools/call'];
  return methods.includes(method) || methods.includes('*');
}

function serveInitialize(state: State, response: ServerResponse, message: Message): void {
  if (isHit(state.flags, 'initialize') && spoil(state, response, message)) return;
  if (state.flags.session !== false) {
    const id = `session-${process.pid}-${state.next}`;
    state.next += 1;
    state.sessions.set(id, 0);
    state.seen.sessions = state.sessions.size;
    response.setHeader('Mcp-Session-Id', id);
  }
  reply(state, response, message, {
    protocolVersion: '2025-06-18',
    capabilities: { tools: { listChanged: true } },
    serverInfo: { name: 'fault-http', version: '1.0.0' },
  });
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const flags = JSON.parse(process.argv[2] ?? '{}') as FaultHttpFlags;
  const server = await startFaultHttp({ port: Number(process.env.PORT ?? 0), ...flags });
  process.stdout.write(`${JSON.stringify({ url: server.url })}\n`);
}

/**
 * The everything server over HTTP, on a loopback port: in the 2025 dates with sessions, GET streams and resumption; in
 * 2026-07-28 by POST alone; or in both at the same address, where the body decides.
 * Promises: only local names may ask (`Host` and `Origin`); at most `MAX_SESSIONS`, the oldest ends first; `close` ends
 * all of it.
 * Does not: know what is served (`everything-session.ts`, `modern-answers.ts`).
 */
import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { isInitializeRequest } from '@modelcontextprotocol/sdk/types.js';
import { createEventStore } from './everything-events.ts';
import { createSession } from './everything-session.ts';
import { createWorld, type World } from './everything-world.ts';
import { isClaimed, type ModernMessage } from './modern-claim.ts';
import { serveModern } from './modern-http.ts';

/** The dates of 2025, or 2026-07-28. */
export type Era = '2025' | '2026';
/** What a server speaks. */
export type Eras = Era | 'both';

export interface EverythingHttp {
  readonly url: string;
  readonly port: number;
  close(): Promise<void>;
}

const MAX_SESSIONS = 200;
const MAX_BODY_BYTES = 4 * 1024 * 1024;
/** A client whose stream was closed comes back after this, ms. */
const RETRY_MS = 200;
const LOCAL = new Set(['localhost', '127.0.0.1', '[::1]']);

interface Served {
  readonly eras: Eras;
  readonly world: World;
  /** bounded by: MAX_SESSIONS */
  readonly transports: Map<string, StreamableHTTPServerTransport>;
}

/** Listens on `port` of the loopback address, or on a free one. */
export async function startEverythingHttp(eras: Eras = '2025', port = 0): Promise<EverythingHttp> {
  const served: Served = { eras, world: createWorld(), transports: new Map() };
  const server = createServer((request, response) => {
    serve(served, request, response).catch((fault: unknown) => {
      if (!response.headersSent) refuse(response, 500, -32603, String(fault));
      else response.destroy();
    });
  });
  await new Promise<void>((done, fail) => {
    server.once('error', fail);
    server.listen(port, '127.0.0.1', done);
  });
  const { port: actual } = server.address() as AddressInfo;
  return {
    url: `http://localhost:${actual}/mcp`,
    port: actual,
    close: async () => {
      await Promise.all([...served.transports.values()].map((transport) => transport.close()));
      const closed = new Promise<void>((done) => server.close(() => done()));
      server.closeAllConnections();
      await closed;
    },
  };
}

async function serve(served: Served, request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (!isLocal(request)) return refuse(response, 403, -32000, 'Only local names may ask');
  if (request.url?.split('?')[0] !== '/mcp') return refuse(response, 404, -32000, 'Not found');
  const body = request.method === 'POST' ? await readBody(request) : undefined;
  const isModern = served.eras === '2026' || (served.eras === 'both' && isClaimed(body));
  if (isModern && body !== undefined) return serveModern(served.world, request, response, body as ModernMessage);
  if (isModern) return refuse(response, 405, -32000, 'Method not allowed');
  const id = request.headers['mcp-session-id'];
  const known = typeof id === 'string' ? served.transports.get(id) : undefined;
  if (id !== undefined && !known) return refuse(response, 404, -32001, 'Session not found');
  if (known) return known.handleRequest(request, response, body);
  if (request.method !== 'POST') return refuse(response, 405, -32000, 'Method not allowed');
  if (!isInitializeRequest(body)) return refuse(response, 400, -32000, 'A session begins with initialize');
  const transport = await open(served);
  await transport.handleRequest(request, response, body);
}

async function open({ world, transports }: Served): Promise<StreamableHTTPServerTransport> {
  const transport = new StreamableHTTPServerTransport({
    sessionIdGenerator: () => randomUUID(),
    eventStore: createEventStore(),
    retryInterval: RETRY_MS,
    onsessioninitialized: (id) => {
      transports.set(id, transport);
      const [oldest] = transports.values();
      if (transports.size > MAX_SESSIONS) void oldest?.close();
    },
  });
  const server = createSession(world);
  // The SDK's own types disagree under exactOptionalPropertyTypes.
  await server.connect(transport as Parameters<typeof server.connect>[0]);
  const leave = transport.onclose;
  transport.onclose = () => {
    if (transport.sessionId) transports.delete(transport.sessionId);
    leave?.();
  };
  return transport;
}

function isLocal({ headers: { host, origin } }: IncomingMessage): boolean {
  return isLocalUrl(`http://${host}`) && (origin === undefined || isLocalUrl(origin));
}

function isLocalUrl(text: string): boolean {
  return LOCAL.has(URL.parse(text)?.hostname ?? '');
}

async function readBody(request: IncomingMessage): Promise<unknown> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    bytes += part.length;
    if (bytes > MAX_BODY_BYTES) throw new Error('The body is too large');
    parts.push(part);
  }
  return JSON.parse(Buffer.concat(parts).toString('utf8'));
}

function refuse(response: ServerResponse, status: number, code: number, message: string): void {
  response.writeHead(status, { 'Content-Type': 'application/json' });
  response.end(JSON.stringify({ jsonrpc: '2.0', error: { code, message }, id: null }));
}

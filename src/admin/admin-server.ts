/**
 * HTTP on control's private unix socket: the guard's probe and beat, the admin API, the page at `/`.
 * Promises: whoever reaches the socket without a role header is this machine's operator (directory 0700); a request that a hub hands on
 * carries `x-mcphub-role`, and only an owner gets past `/`; every answer ends by `forwardMs`; bodies are at most 64 KiB.
 * Does not: check keys; hubs do, and they strip the header from clients.
 */
import { chmod, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Limits } from '../config/limits.ts';
import { CappedCount } from '../kernel/capped.ts';
import type { Deadline } from '../kernel/deadline.ts';
import { errorRow, HubError } from '../kernel/errors.ts';
import type { Beat } from '../kernel/guard-wire.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { isRefusal, Refusal } from '../kernel/outcome.ts';
import type { Service } from '../kernel/service.ts';
import type { LiveAnswer } from './contract.ts';
import { originFrom, PAGE_HEADERS, pageFrom } from './page.ts';
import type { Asked, Routes } from './routes.ts';
import { type StatusSources, statusFrom } from './status.ts';

const BODY_BYTES = 64 * 1024;
const CONNECTIONS = 256;
const BEATS = 8;
const BEAT_EVERY_MS = 1000;
const ROLE_HEADER = 'x-mcphub-role';

export interface AdminParts {
  readonly kernel: Kernel;
  readonly limits: Limits;
  readonly socketPath: string;
  readonly routes: Routes;
  readonly sources: StatusSources;
  /** `connections` = open ones on this socket. */
  readonly beat: (connections: number) => Beat;
}

export function createAdmin(parts: AdminParts): Service {
  const { kernel, limits, socketPath, routes, sources } = parts;
  const open = new CappedCount('admin.connections', CONNECTIONS, 'disconnect', kernel.ceilings);
  const beats = new CappedCount('admin.beats', BEATS, 'refuse', kernel.ceilings);
  let server: Server | undefined;

  function streamBeats(response: ServerResponse): void {
    if (!beats.take()) return refuse(response, new Refusal('overloaded'));
    response.writeHead(200, { 'content-type': 'application/x-ndjson', 'cache-control': 'no-store' });
    const write = () => {
      // A guard that does not read gets the next one when it does.
      if (!response.writableNeedDrain) response.write(`${JSON.stringify(parts.beat(open.size))}\n`);
    };
    write();
    const timer = kernel.timers.every(BEAT_EVERY_MS, write);
    response.on('close', () => {
      timer[Symbol.dispose]();
      beats.give();
    });
  }

  function page(request: IncomingMessage, response: ServerResponse, isForOperator: boolean): void {
    const proto = request.headers['x-forwarded-proto'];
    const origin = originFrom(request.headers.host, typeof proto === 'string' ? proto : undefined, sources.port);
    const html = pageFrom({ origin, status: statusFrom(sources), isForOperator });
    response.writeHead(200, { ...PAGE_HEADERS, 'content-length': Buffer.byteLength(html) });
    response.end(html);
  }

  async function api(request: IncomingMessage, asked: Omit<Asked, 'body'>, response: ServerResponse): Promise<void> {
    using deadline = kernel.deadline(limits.forwardMs);
    response.on('close', () => {
      if (!response.writableFinished) deadline.end('client-gone');
    });
    try {
      const body = await bodyOf(request, kernel, deadline);
      const answer = isRefusal(body) ? body : await routes.answer({ ...asked, body }, deadline);
      if (isRefusal(answer)) refuse(response, answer);
      else send(response, answer.status, answer.body);
    } catch (fault) {
      refuse(response, refusalFrom(fault));
      if (!(fault instanceof HubError)) kernel.bus.publish({ type: 'task-faulted', task: 'admin request', fault });
    }
  }

  function serve(request: IncomingMessage, response: ServerResponse): void {
    const path = (request.url ?? '/').replace(/[?#].*$/s, '');
    const role = request.headers[ROLE_HEADER];
    const isOperator = role === undefined || role === 'owner';
    if (path === '/') return page(request, response, isOperator);
    if (!isOperator) return refuse(response, new Refusal('forbidden', 'This needs a key of an owner.'));
    if (path === '/beat') return streamBeats(response);
    if (path === '/probe' || path === '/livez') {
      const body: LiveAnswer = { status: 'ok', role: 'control', pid: process.pid };
      return send(response, 200, body);
    }
    const asked = { method: request.method ?? 'GET', path, who: role === 'owner' ? 'owner' : 'local' };
    kernel.scope.run('admin request', () => api(request, asked, response));
  }

  function made(): Server {
    const http = createServer({ requestTimeout: limits.forwardMs, headersTimeout: limits.forwardMs }, (ask, answer) => {
      try {
        serve(ask, answer);
      } catch (fault) {
        kernel.bus.publish({ type: 'task-faulted', task: 'admin request', fault });
        refuse(answer, new Refusal('internal'));
      }
    });
    http.on('connection', (socket) => {
      if (!open.take()) return socket.destroy();
      socket.on('close', () => open.give());
      return socket;
    });
    return http;
  }

  return {
    name: 'admin',
    async start(deadline) {
      if (server) return;
      const next = made();
      await kernel.waits.for(listenOn(next, socketPath), { label: 'service-start', owner: 'admin', deadline });
      server = next;
    },
    async stop(deadline) {
      const stopping = server;
      server = undefined;
      if (!stopping) return;
      const closed = new Promise<void>((resolve) => stopping.close(() => resolve()));
      // The guard's beat never ends by itself; what is in progress has had its chance before this.
      stopping.closeAllConnections();
      try {
        await kernel.waits.for(closed, { label: 'service-stop', owner: 'admin', deadline });
      } catch {
        // Stopping may not fail; the process ends anyway.
      }
    },
  };
}

async function listenOn(server: Server, socketPath: string): Promise<void> {
  // What a killed process left behind; that nobody else lives here is the guard's lock.
  await rm(socketPath, { force: true });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(socketPath, () => {
      server.off('error', reject);
      server.on('error', () => {});
      resolve();
    });
  });
  await chmod(socketPath, 0o600);
}

async function bodyOf(request: IncomingMessage, kernel: Kernel, deadline: Deadline): Promise<unknown> {
  if (request.method === 'GET' || request.method === 'DELETE') return undefined;
  const reading = textOf(request);
  const text = await kernel.waits.for(reading, { label: 'body', owner: 'admin request', deadline });
  if (text === undefined) return new Refusal('body-too-large');
  if (text.trim() === '') return undefined;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return new Refusal('parse-error');
  }
}

/** Undefined = too large. Never settles for a client that stops in the middle; the wait's deadline ends that. */
function textOf(request: IncomingMessage): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []; // bounded by: BODY_BYTES
    let bytes = 0;
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= BODY_BYTES) chunks.push(chunk);
      else {
        request.pause();
        resolve(undefined);
      }
    });
    request.on('end', () => resolve(Buffer.concat(chunks).toString('utf8')));
    request.on('error', reject);
  });
}

function refusalFrom(fault: unknown): Refusal {
  if (fault instanceof HubError) return new Refusal(fault.code, fault.message, fault.detail);
  return new Refusal('internal');
}

function refuse(response: ServerResponse, refusal: Refusal): void {
  const {
    code,
    message,
    detail: { operator, ...detail },
  } = refusal;
  const headers = code === 'body-too-large' ? { connection: 'close' } : {};
  send(response, statusOf(refusal), { error: { ...detail, ...operator, code, message } }, headers);
}

/** The table's status is for the MCP endpoint, where many faults travel in a 200. */
function statusOf({ code }: Refusal): number {
  const own: Readonly<Record<string, number>> = { forbidden: 403, 'config-invalid': 422, 'store-failed': 503 };
  const { http, retryable } = errorRow(code);
  return own[code] ?? (http >= 400 ? http : retryable ? 503 : 400);
}

function send(response: ServerResponse, status: number, body: object, headers: Record<string, string> = {}): void {
  if (response.headersSent || response.destroyed) return void response.destroy();
  const text = JSON.stringify(body);
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
    'cache-control': 'no-store',
    ...headers,
  });
  response.end(text);
}

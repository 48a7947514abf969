/**
 * Serves HTTP on the control process's two unix sockets. The operator's socket (CLI, supervisor; directory 0700) serves
 * the heartbeat, the probe, the API and the page at `/`. The workers' socket serves the API to authenticated workers,
 * on behalf of the owner key that they name (`worker-auth.ts`).
 * Guarantees: unauthenticated requests on the workers' socket are refused, and so are workers' requests on the
 * operator's; every response ends by `forwardMs`; bodies are at most `adminBodyBytes`.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Limits } from '../config/limits.ts';
import { apiError, apiStatus } from '../model/client-error.ts';
import { HubError } from '../model/errors.ts';
import { PAGE_HEADERS } from '../model/html-page.ts';
import { isRefusal, Refusal } from '../model/outcome.ts';
import type { Heartbeat } from '../model/supervisor-messages.ts';
import { closeServer, listenOn } from '../relay/unix-socket.ts';
import { CappedCount } from '../runtime/capped.ts';
import type { Deadline } from '../runtime/deadline.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { Service } from '../runtime/service.ts';
import type { LiveAnswer } from './contract.ts';
import { pageFrom } from './page.ts';
import type { Asked, Routes } from './routes.ts';
import { type StatusSources, statusFrom } from './status.ts';
import { claimsWorker, workerCaller } from './worker-auth.ts';

const BEATS = 8;
const BEAT_EVERY_MS = 1000;

type Side = 'operator' | 'workers';

export interface AdminParts {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly sockets: Readonly<Record<Side, string>>;
  /** Returns undefined while none was received over the fork channel; the workers' socket then refuses everything. */
  readonly workerToken: () => string | undefined;
  readonly routes: Routes;
  readonly sources: StatusSources;
  /** `connections` is the number of open ones on both sockets. */
  readonly beat: (connections: number) => Heartbeat;
}

export class AdminServer implements Service {
  readonly name = 'admin';
  readonly #parts: AdminParts;
  readonly #open: Readonly<Record<Side, CappedCount>>;
  readonly #beats: CappedCount;
  #servers: Server[] = []; // bounded by: the two sockets

  constructor(parts: AdminParts) {
    const { runtime, limits } = parts;
    this.#parts = parts;
    const most = () => limits.adminConnections;
    this.#open = {
      operator: new CappedCount('admin.connections', most, 'disconnect', runtime.ceilings),
      workers: new CappedCount('admin.worker-connections', most, 'disconnect', runtime.ceilings),
    };
    this.#beats = new CappedCount('admin.beats', BEATS, 'refuse', runtime.ceilings);
  }

  async start(deadline: Deadline): Promise<void> {
    const { sockets, runtime } = this.#parts;
    if (this.#servers.length > 0) return;
    const next: Server[] = []; // bounded by: the two sockets
    for (const side of ['workers', 'operator'] as const) {
      const server = this.#createServer(side);
      const listening = listenOn(server, sockets[side]);
      await runtime.waits.for(listening, { label: 'service-start', owner: `admin ${side}`, deadline });
      next.push(server);
    }
    this.#servers = next;
  }

  async stop(deadline: Deadline): Promise<void> {
    const { runtime } = this.#parts;
    const stopping = this.#servers;
    this.#servers = [];
    // The supervisor's heartbeat request does not end by itself; other requests had their time before.
    for (const server of stopping) server.closeAllConnections();
    await Promise.all(stopping.map((server) => closeServer(server, { runtime, owner: 'admin' }, deadline)));
  }

  #streamBeats(response: ServerResponse): void {
    const { runtime } = this.#parts;
    if (!this.#beats.take()) return refuse(response, new Refusal('overloaded'));
    response.writeHead(200, { 'content-type': 'application/x-ndjson', 'cache-control': 'no-store' });
    const write = () => {
      // A supervisor that does not read gets the next heartbeat when it does.
      if (!response.writableNeedDrain)
        response.write(`${JSON.stringify(this.#parts.beat(this.#open.operator.size + this.#open.workers.size))}\n`);
    };
    write();
    const timer = runtime.timers.every(BEAT_EVERY_MS, write);
    response.on('close', () => {
      timer[Symbol.dispose]();
      this.#beats.give();
    });
  }

  #page(response: ServerResponse): void {
    const { sources } = this.#parts;
    const html = pageFrom(statusFrom(sources));
    response.writeHead(200, { ...PAGE_HEADERS, 'content-length': Buffer.byteLength(html) });
    response.end(html);
  }

  async #api(request: IncomingMessage, asked: Omit<Asked, 'body'>, response: ServerResponse): Promise<void> {
    const { runtime, limits, routes } = this.#parts;
    using deadline = runtime.deadline(limits.forwardMs);
    response.on('close', () => {
      if (!response.writableFinished) deadline.end('client-gone');
    });
    try {
      const body = await bodyOf(request, { runtime, limits }, deadline);
      const answer = isRefusal(body) ? body : await routes.answer({ ...asked, body }, deadline);
      if (isRefusal(answer)) refuse(response, answer);
      else send(response, answer.status, answer.body);
    } catch (fault) {
      refuse(response, refusalFrom(fault));
      if (!(fault instanceof HubError)) runtime.bus.publish({ type: 'task-faulted', task: 'admin request', fault });
    }
  }

  #apiFor(who: string, request: IncomingMessage, response: ServerResponse, path: string): void {
    const { runtime } = this.#parts;
    const asked = { method: request.method ?? 'GET', path, who };
    runtime.scope.run('admin request', () => this.#api(request, asked, response));
  }

  #refuseCaller(socket: Side, refusal: Refusal, response: ServerResponse): void {
    const { sources, runtime } = this.#parts;
    sources.arrivals.refused += 1;
    runtime.bus.publish({ type: 'api-refused', socket, reason: refusal.code });
    refuse(response, refusal);
  }

  #serveWorker(request: IncomingMessage, response: ServerResponse, path: string): void {
    const { sources, runtime, workerToken } = this.#parts;
    const who = workerCaller(request, {
      token: workerToken,
      keys: () => sources.control.keys.list(),
      wallMs: () => runtime.clock.wallMs(),
    });
    if (isRefusal(who)) return this.#refuseCaller('workers', who, response);
    sources.arrivals.workers += 1;
    this.#apiFor(who, request, response, path);
  }

  #serveOperator(request: IncomingMessage, response: ServerResponse, path: string): void {
    const { sources } = this.#parts;
    if (claimsWorker(request))
      return this.#refuseCaller('operator', new Refusal('forbidden', 'This socket is for the operator.'), response);
    if (path === '/') return this.#page(response);
    if (path === '/beat') return this.#streamBeats(response);
    if (path === '/probe' || path === '/livez') {
      const body: LiveAnswer = { status: 'ok', role: 'control', pid: process.pid };
      return send(response, 200, body);
    }
    sources.arrivals.operator += 1;
    this.#apiFor('local', request, response, path);
  }

  #createServer(side: Side): Server {
    const { runtime, limits } = this.#parts;
    const http = createServer((ask, answer) => {
      const path = (ask.url ?? '/').replace(/[?#].*$/s, '');
      try {
        if (side === 'operator') this.#serveOperator(ask, answer, path);
        else this.#serveWorker(ask, answer, path);
      } catch (fault) {
        runtime.bus.publish({ type: 'task-faulted', task: 'admin request', fault });
        refuse(answer, new Refusal('internal'));
      }
    });
    // Node reads both when it checks its connections.
    const forwardMs = { get: () => limits.forwardMs };
    Object.defineProperties(http, { requestTimeout: forwardMs, headersTimeout: forwardMs });
    http.on('connection', (socket) => {
      if (!this.#open[side].take()) return socket.destroy();
      socket.on('close', () => this.#open[side].give());
      return socket;
    });
    return http;
  }
}

async function bodyOf(
  request: IncomingMessage,
  { runtime, limits }: { readonly runtime: Runtime; readonly limits: Limits },
  deadline: Deadline,
): Promise<unknown> {
  if (request.method === 'GET' || request.method === 'DELETE') return undefined;
  const reading = textOf(request, limits.adminBodyBytes);
  const text = await runtime.waits.for(reading, { label: 'body', owner: 'admin request', deadline });
  if (text === undefined) return new Refusal('body-too-large');
  if (text.trim() === '') return undefined;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return new Refusal('parse-error');
  }
}

/**
 * Returns undefined when the body is too large. Does not settle for a client that stops sending; the wait's deadline
 * ends that.
 */
function textOf(request: IncomingMessage, maxBytes: number): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []; // bounded by: maxBytes
    let bytes = 0;
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= maxBytes) chunks.push(chunk);
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
  const { code } = refusal;
  const headers = code === 'body-too-large' ? { connection: 'close' } : {};
  send(response, apiStatus(code), apiError(refusal, 'operator'), headers);
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

/**
 * Routes a path to its handler, on the public port and on the worker's private socket.
 * Guarantees: health pages are answered from memory; discovery paths are JSON 404s (clients that find OAuth metadata
 * drop their key); an unknown path is a JSON 404; a fault in a handler becomes a 500.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { checkOrigin, type OriginRules } from '../auth/origin.ts';
import type { TrustedProxies } from '../auth/trusted-proxies.ts';
import type { Caller } from '../call/call.ts';
import type { RequestPipeline } from '../call/pipeline.ts';
import type { Health, HealthAnswer } from '../health/health.ts';
import { isRefusal, Refusal } from '../model/outcome.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { Authorized } from './authorized.ts';
import { dropUnprovenAddress, takeForwardedAddress } from './client-address.ts';
import { writePreflight } from './cors.ts';
import type { Endpoint } from './endpoint.ts';
import type { Forward } from './forward.ts';
import { declaresBody, refuseRequest, traceRefusal, writeApiRefusal, writeJson, writeRefusal } from './http-answer.ts';
import { writeLandingPage } from './landing-page.ts';
import type { LegacySse } from './legacy-sse.ts';
import { acceptsRead } from './read-only.ts';
import { createRefusalWriter } from './refusal-writer.ts';
import { requestContextFrom } from './request-context.ts';
import { type RequestTarget, readTarget } from './request-target.ts';

/** Not an MCP error: /.well-known/* must mean that there is no OAuth here. */
const NOTHING_HERE = Buffer.from(
  '{"error":"not_found","message":"There is no resource at this path. The endpoint is /mcp; the hub’s health is at /health."}',
);

export interface RouterParts {
  readonly runtime: Runtime;
  /** Port that clients reach; shown on the page at `/` when the Host header has none. */
  readonly port: () => number;
  readonly workerToken: () => string | undefined;
  readonly pipeline: RequestPipeline;
  readonly endpoint: Endpoint;
  readonly health: Health;
  readonly forward: Forward;
  readonly legacySse: LegacySse;
  readonly proxies: TrustedProxies;
  readonly settings: () => OriginRules & { readonly legacySse: boolean; readonly keyInQuery: boolean };
  /** Returns the slugs of the servers in a caller's view. */
  readonly serversOf: (caller: Caller) => readonly string[];
  /** Called when a client at this address requests readiness. */
  readonly readinessAsked: (address: string) => void;
}

export type Handler = (request: IncomingMessage, response: ServerResponse) => void;

const NO_STORE = { 'cache-control': 'no-store' } as const;

/** Routes the requests of the public port. */
export class Router {
  readonly #parts: RouterParts;
  readonly #healthPages: ReadonlyMap<string, (request: IncomingMessage) => HealthAnswer>;
  /** The last settings and Host header that were accepted: nearly all requests have the same. */
  #fine: { readonly settings: OriginRules; readonly host: string | undefined } | undefined;
  readonly #nothingHere = new Refusal('not-found');
  readonly #writeNothingHere: ReturnType<typeof createRefusalWriter>;

  constructor(parts: RouterParts) {
    const { health, runtime } = parts;
    this.#parts = parts;
    this.#healthPages = new Map<string, (request: IncomingMessage) => HealthAnswer>([
      ['/health', () => health.summary()],
      ['/healthz', () => health.summary()],
      ['/livez', () => health.live()],
      ['/health/live', () => health.live()],
      ['/readyz', (request) => this.#ready(request)],
      ['/health/ready', (request) => this.#ready(request)],
      ['/startupz', () => health.startup()],
      ['/health/startup', () => health.startup()],
    ]);
    this.#writeNothingHere = createRefusalWriter(runtime, () => NOTHING_HERE, refuseNothingHere);
  }

  readonly handle: Handler = (request, response) => {
    try {
      this.#route(request, response);
    } catch (fault) {
      this.#parts.runtime.bus.publish({ type: 'task-faulted', task: 'request', fault });
      const refusal = new Refusal('internal');
      if (request.url?.startsWith('/api/')) writeApiRefusal(request, response, refusal);
      else writeRefusal(response, refusal, undefined, request);
    }
  };

  #ready({ socket }: IncomingMessage): HealthAnswer {
    const { health, readinessAsked } = this.#parts;
    readinessAsked(socket.remoteAddress ?? '');
    return health.ready();
  }

  /** Returns false when `path` is no health page. Health pages are answered from memory, and accept no body. */
  #pages(path: string, request: IncomingMessage, response: ServerResponse): boolean {
    const answer = this.#healthPages.get(path);
    if (answer === undefined) return false;
    if (acceptsRead(request, response)) writeHealth(response, answer(request));
    return true;
  }

  /** Returns undefined for others than owners; the refusal has then been written. */
  #owner(request: IncomingMessage, response: ServerResponse): Authorized | undefined {
    const { pipeline } = this.#parts;
    const authorized = Authorized.from(pipeline, requestContextFrom(request, { kind: 'all' }, false));
    if (isRefusal(authorized)) {
      writeApiRefusal(request, response, authorized);
      return undefined;
    }
    const { role, groups } = authorized.caller.principal;
    if (role === 'owner' && groups === undefined) return authorized;
    writeApiRefusal(request, response, new Refusal('forbidden', 'An owner key without groups is required.'));
    return undefined;
  }

  /**
   * Returns the state only without a key, the servers of its view for a member's key, everything for an owner's key.
   */
  #healthFor(request: IncomingMessage): object {
    const { pipeline, health } = this.#parts;
    const caller =
      request.headers.authorization === undefined
        ? undefined
        : pipeline.identify(requestContextFrom(request, { kind: 'all' }, false));
    if (caller === undefined || isRefusal(caller)) return { status: health.state() };
    const { role, groups } = caller.principal;
    const isOwner = role === 'owner' && groups === undefined;
    return isOwner ? health.detail() : health.memberDetail(this.#parts.serversOf(caller));
  }

  #api(path: string, request: IncomingMessage, response: ServerResponse): void {
    const { forward, health } = this.#parts;
    if (path === '/api/health') {
      if (!acceptsRead(request, response)) return;
      writeJson(response, 200, JSON.stringify(this.#healthFor(request)), NO_STORE);
      return;
    }
    const authorized = this.#owner(request, response);
    if (!authorized) return;
    if (path !== '/api/waits' && path !== '/api/ceilings') return forward.send(request, response, { path, authorized });
    if (!acceptsRead(request, response)) return;
    const answer =
      path === '/api/waits' ? { waits: health.waits() } : { ceilings: health.ceilings(), limits: health.limits() };
    writeJson(response, 200, JSON.stringify(answer), NO_STORE);
  }

  /** Checks Host and Origin. */
  #originRefusal(
    request: IncomingMessage,
    {
      path,
      settings,
      malformed,
    }: { readonly path: string; readonly settings: OriginRules; readonly malformed: Refusal | undefined },
  ): Refusal | undefined {
    const { host, origin, 'sec-fetch-site': fetchSite } = request.headers;
    if (malformed) return malformed;
    const isPlain = origin === undefined && fetchSite === undefined;
    if (isPlain && this.#fine !== undefined && this.#fine.host === host && this.#fine.settings === settings)
      return undefined;
    if (host?.includes(',')) return new Refusal('http-malformed', 'The request has more than one Host.');
    // A link on another site may lead to the page at /.
    const site = path === '/' ? undefined : String(fetchSite ?? 'none');
    const asked = { host, origin, fetchSite: site, isHttp10: request.httpVersion === '1.0' };
    const refusal = checkOrigin(asked, settings);
    if (isRefusal(refusal)) return refusal;
    if (isPlain && host) this.#fine = { settings, host };
    return undefined;
  }

  #route(request: IncomingMessage, response: ServerResponse): void {
    const { endpoint, health, port, workerToken, proxies } = this.#parts;
    dropUnprovenAddress(request, workerToken);
    takeForwardedAddress(request, proxies);
    const malformed = refuseVersionOrHost(request);
    const target = readTarget(request);
    const { path, query } = target;
    const settings = this.#parts.settings();
    const refusal = this.#originRefusal(request, { path, settings, malformed });
    const isPreflight = request.method === 'OPTIONS' && request.headers.origin !== undefined && refusal === undefined;
    // Health is answered for any Host and Origin; browsers keep the answer from pages that are not allowed.
    if (refusal?.code !== 'http-malformed' && !isPreflight && this.#pages(path, request, response)) return;
    if (refusal) return (isApi(path) ? writeApiRefusal : refuseRequest)(request, response, refusal);
    if (isPreflight) return writePreflight(request, response);
    if (settings.keyInQuery && query !== '') takeKeyFrom(query, request);
    if (path === '/mcp' || path === '/mcp/') return endpoint.handle(request, response, { segment: '', local: false });
    if (path.startsWith('/mcp/')) {
      const segment = segmentFrom(path);
      if (segment === undefined) return refuseRequest(request, response, noSuchPath(path));
      return endpoint.handle(request, response, { segment, local: false });
    }
    if (settings.legacySse && this.#oldClient(target, request, response)) return;
    if (path.startsWith('/api/')) return this.#api(path, request, response);
    if (path === '/') {
      if (acceptsRead(request, response)) writeLandingPage(request, response, { state: health.state(), port: port() });
      return;
    }
    (declaresBody(request) ? refuseNothingHere : this.#writeNothingHere)(request, response, this.#nothingHere);
  }

  /** Returns false for other paths than those of 2024-11-05. */
  #oldClient({ path, given }: RequestTarget, request: IncomingMessage, response: ServerResponse): boolean {
    const { legacySse } = this.#parts;
    const [, verb = '', ...rest] = path.split('/');
    if (verb !== 'sse' && verb !== 'messages') return false;
    const segment = rest.length === 0 ? '' : segmentFrom(path, `/${verb}`);
    if (segment === undefined) refuseRequest(request, response, noSuchPath(path));
    else if (verb === 'sse' && request.method === 'GET') legacySse.open(request, response, { segment, given });
    else if (verb === 'messages' && request.method === 'POST') legacySse.post(request, response, segment);
    // A client that tries Streamable HTTP here first continues with GET after a 405.
    else
      refuseRequest(
        request,
        response,
        new Refusal('method-not-allowed', `${path} is for clients of 2024-11-05; the endpoint is /mcp.`),
        { allow: verb === 'sse' ? 'GET' : 'POST' },
      );
    return true;
  }
}

function refuseNothingHere(_request: IncomingMessage, response: ServerResponse, refusal: Refusal): void {
  traceRefusal(response, refusal);
  writeJson(response, 404, NOTHING_HERE);
}

/**
 * Refuses other versions than HTTP/1.0 and 1.1, and HTTP/1.1 without Host, in any form of target (RFC 9112, section
 * 3.2).
 */
function refuseVersionOrHost({ headers, httpVersion }: IncomingMessage): Refusal | undefined {
  if (httpVersion === '1.0') return undefined;
  if (httpVersion !== '1.1') return new Refusal('http-malformed', `HTTP/${httpVersion} is not supported.`);
  return headers.host === undefined ? new Refusal('http-malformed', 'The request has no Host header.') : undefined;
}

/** Tells whether errors of this path have the body of the API instead of a JSON-RPC error. */
function isApi(path: string): boolean {
  return path === '/' || path.startsWith('/api/');
}

/** Returns the segment after `/mcp/` (or another prefix), decoded; undefined when it is not one valid segment. */
export function segmentFrom(path: string, prefix = '/mcp'): string | undefined {
  const raw = path.slice(prefix.length + 1).replace(/\/$/, '');
  if (raw.includes('/')) return undefined;
  try {
    return decodeURIComponent(raw);
  } catch {
    return undefined;
  }
}

/** Uses `?key=` if there is no header. */
function takeKeyFrom(query: string, request: IncomingMessage): void {
  const key = new URLSearchParams(query).get('key');
  if (key && request.headers.authorization === undefined) request.headers.authorization = `Bearer ${key}`;
}

/** Suggests the path that was probably meant: `/mcp/demo` instead of `/mcp/demo/mcp`. */
function noSuchPath(path: string): Refusal {
  const near = /^\/[a-z]+\/[\w.~%-]{1,64}(?=\/)/.exec(path)?.[0];
  const hint =
    near === undefined ? 'The endpoint is /mcp.' : `Did you mean ${near}? The endpoint of all servers is /mcp.`;
  return new Refusal('not-found', `There is no resource at this path. ${hint}`);
}

export function writeHealth(response: ServerResponse, answer: HealthAnswer): void {
  writeJson(response, answer.httpStatus, JSON.stringify(answer.body), NO_STORE);
}

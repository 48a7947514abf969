/**
 * The pool, path and headers of one HTTP server, once its address is known. `streamable-http.ts` sends.
 */
import type { Limits } from '../../../config/limits.ts';
import { HubError } from '../../../model/errors.ts';
import { isRefusal } from '../../../model/outcome.ts';
import type { HttpSpec } from '../../../model/snapshot.ts';
import type { Egress, EgressPool, EgressRequest } from '../../../net/egress.ts';
import { basicLogin } from '../../../net/header-value.ts';
import { requestHeaders } from '../../../protocol/era-2026/outgoing.ts';
import { scanEnvelope } from '../../../protocol/scan.ts';
import type { SentExchange } from '../streamable-http/exchange-host.ts';
import type { DeclaredHeaders, TransportEvents } from '../transport.ts';
import { addressOf } from './http-fault.ts';
import { OPEN_AT_ONCE } from './outbox.ts';
import { RequestHeaders } from './request-headers.ts';

export interface Wire {
  readonly pool: EgressPool;
  readonly path: string;
  /** For the operator. */
  readonly address: string;
  readonly headers: RequestHeaders;
}

/**
 * Sockets beside those of calls: pings, lists, notifications, the GET stream, DELETE. Hung calls must not block the
 * liveness probe.
 */
const SIDE_SOCKETS = 8;
export const SIDE_REQUESTS = SIDE_SOCKETS - OPEN_AT_ONCE - 1;

/** Opens no socket yet. Throws `config-invalid`. */
export function openWire(
  egress: Egress,
  limits: Limits,
  to: { readonly server: string; readonly http: HttpSpec; readonly address: string; readonly events: TransportEvents },
): Wire {
  const { server, http, address, events } = to;
  if (!URL.canParse(address))
    throw new HubError('config-invalid', { message: 'The server’s address is not a URL.', detail: { server } });
  const url = new URL(address);
  const connections = limits.serverConnections + SIDE_SOCKETS;
  const pool = egress.open(url, { owner: server, connections, addresses: 'any', moved: movedNote(events) });
  const headers = new RequestHeaders(http.headers, basicLogin(url), pool.headers);
  return { pool, path: pool.pathOf(url), address: addressOf(url), headers };
}

/** Returns a function that reports to the operator that a redirect is followed. */
export function movedNote({ learned }: TransportEvents): (status: number, hasSlash: boolean) => void {
  return (status, hasSlash) => {
    const slash = hasSlash ? 'with a final slash' : 'without its final slash';
    learned(`redirects (HTTP ${status}) to the same path ${slash}, which is followed: change its url`);
  };
}

/**
 * Returns a POST of its frame, or the GET that fetches the rest of its answer. A stateless request repeats members of
 * its body in headers, and what its tool declares; `stateless` is undefined for other requests.
 */
export function requestOf(
  { frame, place }: SentExchange,
  { path, headers }: Wire,
  stateless: DeclaredHeaders | undefined,
): EgressRequest {
  if (place) return { method: 'GET', path, headers: headers.stream(place.lastEventId), body: null };
  if (!stateless) return { method: 'POST', path, headers: headers.post, body: frame };
  const envelope = scanEnvelope(frame, SCAN);
  const own = isRefusal(envelope) ? [] : requestHeaders(envelope, stateless);
  return { method: 'POST', path, headers: [...headers.post, ...own], body: frame };
}

const SCAN = { maxDepth: 4096, maxIdBytes: 256, strict: false } as const;

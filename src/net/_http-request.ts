/**
 * The text of a request's head: line, Host, Connection and the fields that the caller gives.
 * Promises: pure; nothing that the caller gives can end a line, the head, or say how long the body is; answers without a content coding are asked
 * for, because a request that says nothing allows any (RFC 9110, section 12.5.3).
 * Does not: know the body (`_http-socket.ts` adds its length).
 */
import { HubError } from '../model/errors.ts';
import type { EgressRequest } from './_http-types.ts';
import { isHeaderName } from './header-value.ts';

const PATH = /^[\x21-\x7e\x80-\xff]+$/;
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
/** Ours to say. */
const FRAMING = new Set([
  'accept-encoding',
  'connection',
  'content-length',
  'keep-alive',
  'transfer-encoding',
  'upgrade',
  'expect',
]); // bounded by: this literal

export interface RequestHead {
  readonly method: string;
  readonly path: string;
  /** Latin-1, without the empty line at its end. */
  readonly text: string;
  /** Name that TLS asks for when the caller gave a Host of its own; undefined = the address's. */
  readonly servername: string | undefined;
  /** It asks with HEAD: the answer has no body. */
  readonly bodiless: boolean;
}

/**
 * Throws `internal` for a path or field that is not legal. `host` = Host unless the request has its own; `cookies` = what the server has set, behind
 * those of the caller.
 */
export function requestHead({ method, path, headers }: EgressRequest, host: string, cookies?: string): RequestHead {
  if (!PATH.test(path) || headers.length % 2 !== 0) throw illegal('path');
  let own: string | undefined;
  let cookie = cookies;
  let fields = '';
  for (let at = 0; at < headers.length; at += 2) {
    const name = headers[at] ?? '';
    const value = headers[at + 1] ?? '';
    if (!isHeaderName(name) || !VALUE.test(value) || FRAMING.has(name.toLowerCase())) throw illegal(name);
    if (name.toLowerCase() === 'host') own = value;
    else if (name.toLowerCase() === 'cookie') cookie = cookies === undefined ? value : `${value}; ${cookies}`;
    else fields += `${name}: ${value}\r\n`;
  }
  if (cookie !== undefined) fields += `cookie: ${cookie}\r\n`;
  return {
    method,
    path,
    text: `${method} ${path} HTTP/1.1\r\nhost: ${own ?? host}\r\nconnection: keep-alive\r\naccept-encoding: identity\r\n${fields}`,
    servername: own === undefined ? undefined : nameIn(own),
    bodiless: method === 'HEAD',
  };
}

/** Returns the same head for another path, which must be legal. */
export function movedHead(head: RequestHead, path: string): RequestHead {
  const rest = head.text.slice(head.text.indexOf('\r\n'));
  return { ...head, path, text: `${head.method} ${path} HTTP/1.1${rest}` };
}

/** Host without its port and the brackets of IPv6. */
function nameIn(host: string): string {
  return /^\[([^\]]*)\]/.exec(host)?.[1] ?? host.replace(/:\d*$/, '');
}

function illegal(what: string): HubError {
  return new HubError('internal', {
    message: 'The hub has built a request that is not legal HTTP.',
    detail: { reason: 'http-request', operator: { what: what.replace(/[^\x20-\x7e]/g, '?').slice(0, 100) } },
  });
}

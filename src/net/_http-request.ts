/**
 * Writes the head of a request: request line, Host, Connection and the caller's fields. `_http-socket.ts` adds the
 * length of the body.
 * Guarantees: pure; the caller's values cannot end a line or the head, or set the length of the body; the default
 * Accept-Encoding asks for no content coding, because a request without the header allows any (RFC 9110, section
 * 12.5.3).
 */
import { HubError } from '../model/errors.ts';
import type { EgressRequest } from './_http-types.ts';
import { isHeaderName } from './header-value.ts';

const PATH = /^[\x21-\x7e\x80-\xff]+$/;
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
/** Fields that only this file writes. */
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
  /** Name for TLS when the caller set its own Host; undefined for the name in the address. */
  readonly servername: string | undefined;
  /** True for HEAD: the response has no body. */
  readonly bodiless: boolean;
}

/**
 * Returns the head of a request. `host` is the Host header unless the request has its own; `cookies` follow those of
 * the caller. Throws `internal` for an invalid path or field.
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

/** Returns the same head for another path, which must be valid. */
export function movedHead(head: RequestHead, path: string): RequestHead {
  const rest = head.text.slice(head.text.indexOf('\r\n'));
  return { ...head, path, text: `${head.method} ${path} HTTP/1.1${rest}` };
}

/** Returns a host without its port and without the brackets of IPv6. */
function nameIn(host: string): string {
  return /^\[([^\]]*)\]/.exec(host)?.[1] ?? host.replace(/:\d*$/, '');
}

function illegal(what: string): HubError {
  return new HubError('internal', {
    message: 'The hub has built a request that is not legal HTTP.',
    detail: { reason: 'http-request', operator: { what: what.replace(/[^\x20-\x7e]/g, '?').slice(0, 100) } },
  });
}

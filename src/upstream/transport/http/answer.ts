/**
 * Classifies an HTTP response by status line and headers, and builds its errors.
 * Guarantees: pure functions; decisions depend on status and media type, never on texts; quotes are short and have no
 * control characters.
 */
import type { Limits } from '../../../config/limits.ts';
import { HubError } from '../../../model/errors.ts';
import type { Refusal } from '../../../model/outcome.ts';
import { sentence } from '../../../model/sentence.ts';
import type { ResponseHeaders } from '../../../net/egress.ts';
import type { Runtime } from '../../../runtime/runtime.ts';
import { refusedAnswer } from '../../connection/invalid-answer.ts';

/** `error`: an HTTP error whose body may give the reason; `auth`, `redirect` and `done` need no body. */
export type AnswerKind = 'json' | 'sse' | 'done' | 'auth' | 'redirect' | 'error' | 'foreign' | 'coded';

/** Limited only by the byte limit of headers: some servers use a JWT. */
const SESSION_ID = /^[\x21-\x7e]+$/;

export function headerOf(headers: ResponseHeaders, name: string): string {
  const value = headers[name];
  return typeof value === 'string' ? value : (value?.[0] ?? '');
}

/** `isRequest`: it needs a reply. */
export function answerKind(status: number, headers: ResponseHeaders, isRequest: boolean): AnswerKind {
  if (status === 401 || status === 403) return 'auth';
  if (status >= 400) return 'error';
  if (status >= 300) return 'redirect';
  if (!isRequest) return 'done';
  // The field is removed from responses that could be decoded.
  if (headers['content-encoding'] !== undefined) return 'coded';
  const type = mediaType(headers);
  if (type === 'application/json') return 'json';
  return type === 'text/event-stream' ? 'sse' : 'foreign';
}

export function mediaType(headers: ResponseHeaders): string {
  const text = headerOf(headers, 'content-type');
  const end = text.indexOf(';');
  return (end < 0 ? text : text.slice(0, end)).trim().toLowerCase();
}

/**
 * Returns the session id that an answer to initialize gives; undefined when there is none. A repeated id counts once.
 * Throws `upstream-protocol` for different ids, and for one that is not visible ASCII.
 */
export function sessionIdIn(headers: ResponseHeaders): string | undefined {
  const field = headers['mcp-session-id'];
  if (field === undefined || field === '') return undefined;
  const fields = typeof field === 'string' ? [field] : field;
  // bounded by: the header byte limit
  const ids = new Set(fields.flatMap((one) => (SESSION_ID.test(one) ? [one] : one.split(',').map((id) => id.trim()))));
  const [id = ''] = ids;
  if (ids.size > 1)
    throw new HubError('upstream-protocol', {
      message: `The server’s answer names ${ids.size} session ids that differ.`,
    });
  if (!SESSION_ID.test(id))
    throw new HubError('upstream-protocol', {
      message: 'The server’s session id has characters that are not visible ASCII.',
    });
  return id;
}

export function redirectFault(server: string, status: number, headers: ResponseHeaders): HubError {
  const location = headerOf(headers, 'location');
  const to = URL.canParse(location)
    ? originAndPath(new URL(location))
    : quoted(Buffer.from(location.replace(/\?.*$/s, '')), 200);
  return new HubError('upstream-http', {
    message: `The server redirects (HTTP ${status}) to ${to === '' ? 'nowhere' : to}; redirects are not followed.`,
    detail: { server, phase: 'answer', status, reason: 'redirect', outcome: 'not-executed' },
  });
}

export function protocolFault(server: string, status: number, why: string): HubError {
  return new HubError('upstream-protocol', {
    message: `The server’s answer is not valid MCP: ${sentence(why)}`,
    detail: { server, phase: 'answer', status, outcome: 'unknown' },
  });
}

export function endedFault(server: string, waitedMs: number): HubError {
  return new HubError('upstream-gone', {
    message: 'The server ended the stream without an answer.',
    detail: { server, phase: 'answer', waitedMs: Math.round(waitedMs), outcome: 'unknown' },
  });
}

export function largeFault(server: string, limitBytes: number): HubError {
  const detail = { server, phase: 'answer', setting: 'answerBytes', limitBytes, outcome: 'unknown' } as const;
  return new HubError('upstream-too-large', { detail });
}

/** Returns the fault when too many large answers of this server arrive at once. */
export function crowdedFault(server: string): HubError {
  return new HubError('overloaded', {
    message: 'Too many large answers of this server are arriving at once.',
    detail: { server, phase: 'answer', outcome: 'unknown' },
  });
}

/** Returns why a body with a content coding cannot be read. */
export function unknownCoding(headers: ResponseHeaders): string {
  const field = headers['content-encoding'] ?? '';
  const names = quoted(Buffer.from(typeof field === 'string' ? field : field.join(', ')), 100);
  return `it has the content coding ${names}; only one of gzip, deflate, br and zstd is decoded`;
}

/** Returns why a response of that type cannot be a reply. */
export function wrongType(headers: ResponseHeaders, status: number): string {
  const type = mediaType(headers).slice(0, 100);
  return type === '' ? `HTTP ${status} without a reply` : `its type is ${type}`;
}

function originAndPath(url: URL): string {
  return `${url.origin}${url.pathname}`.slice(0, 200);
}

/** Returns the beginning of a page: at most `maxBytes` of UTF-8, control characters replaced by blanks. */
function quoted(body: Buffer, maxBytes: number): string {
  return body
    .toString('utf8', 0, maxBytes)
    .replace(/[\p{Cc}\ufffd]+/gu, ' ')
    .trim();
}

/** Returns the fault of a request whose response cannot be a reply. */
export function faultOf(kind: AnswerKind, server: string, status: number, headers: ResponseHeaders): HubError {
  if (kind === 'redirect') return redirectFault(server, status, headers);
  return protocolFault(server, status, kind === 'coded' ? unknownCoding(headers) : wrongType(headers, status));
}

/** Returns the fault of a body or event that is no valid message, or too large. */
export function messageFault(
  refusal: Refusal,
  { server, limits }: { readonly server: string; readonly limits: Pick<Limits, 'answerBytes'> },
  status: number,
): HubError {
  const { code, message, detail } = refusal;
  if (code !== 'upstream-too-large') return protocolFault(server, status, message);
  return detail.setting === undefined ? largeFault(server, limits.answerBytes) : refusedAnswer(server, refusal);
}

/** Returns a function that reports, once for a connection, that a body does not have its declared media type. */
export function mislabelledReport({ bus }: Pick<Runtime, 'bus'>, server: string): (type: string, kind: string) => void {
  let isReported = false;
  return (type, kind) => {
    if (isReported) return;
    isReported = true;
    const named = type === '' ? 'names no media type' : `has the media type ${type.slice(0, 100)}`;
    const reason = `an answer ${named}; it is read as ${kind === 'sse' ? 'an event stream' : 'JSON'}`;
    bus.publish({ type: 'messages-invalid', server, repaired: 1, refused: 0, reason });
  };
}

/**
 * The header lists of an HTTP server's requests, built once and again only when session or version change.
 * Promises: every name and value is legal; what belongs to the hop, to the framing or to the protocol is not taken from the configuration;
 * nothing of a client's request comes in here (its Authorization is never seen).
 * Does not: send.
 */
import { headerValue, isHeaderName } from '../../../net/header-value.ts';

/** Not the configuration's to set: framing, hop-by-hop (RFC 9110, 7.6.1), and what the protocol itself says. */
const OURS = new Set([
  'accept',
  'accept-encoding',
  'connection',
  'content-encoding',
  'content-length',
  'content-type',
  'expect',
  'keep-alive',
  'last-event-id',
  'mcp-method',
  'mcp-name',
  'mcp-protocol-version',
  'mcp-session-id',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]); // bounded by: this literal

export class RequestHeaders {
  readonly #configured: readonly string[];
  #post: string[] = []; // bounded by: the configuration
  #session: string | undefined;
  #version: string | undefined;

  /** `way` = what the way out wants on each request, as it is. `login` = user and password of the URL. */
  constructor(configured: Readonly<Record<string, string>>, login: string | undefined, way: readonly string[]) {
    const list: string[] = []; // bounded by: the configuration
    const names = new Set<string>(); // bounded by: the configuration
    for (const [name, value] of Object.entries(configured)) {
      const key = name.trim().toLowerCase();
      if (!isHeaderName(key) || OURS.has(key) || names.has(key)) continue;
      names.add(key);
      list.push(key, headerValue(value));
    }
    if (!names.has('user-agent')) list.push('user-agent', 'mcphub');
    if (login !== undefined && !names.has('authorization')) list.push('authorization', login);
    this.#configured = [...list, ...way];
    this.set(undefined, undefined);
  }

  set(session: string | undefined, version: string | undefined): void {
    this.#session = session;
    this.#version = version;
    this.#post = [
      'accept',
      'application/json, text/event-stream',
      'content-type',
      'application/json',
      ...this.#bound(),
    ];
  }

  /** The same array until the next `set`; not to be changed. */
  get post(): string[] {
    return this.#post;
  }

  stream(lastEventId: string | undefined): string[] {
    const resume = lastEventId === undefined ? [] : ['last-event-id', lastEventId];
    return ['accept', 'text/event-stream', 'cache-control', 'no-store', ...resume, ...this.#bound()];
  }

  /** Of the DELETE of a session, by default the current one. */
  end(session = this.#session, version = this.#version): string[] {
    return ['accept', '*/*', ...this.#bound(session, version)];
  }

  #bound(session = this.#session, version = this.#version): string[] {
    return [
      ...(session === undefined ? [] : ['mcp-session-id', session]),
      ...(version === undefined ? [] : ['mcp-protocol-version', version]),
      ...this.#configured,
    ];
  }
}

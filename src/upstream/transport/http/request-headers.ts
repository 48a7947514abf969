/**
 * The headers of requests to an HTTP server, built once and again only when session or version change.
 * Guarantees: every name and value is valid; configured hop-by-hop, framing and protocol headers are ignored; nothing
 * of a client's request is included (its Authorization is never sent).
 */
import { headerValue, isHeaderName } from '../../../net/header-value.ts';

/** Headers that the configuration cannot set: framing, hop-by-hop (RFC 9110, 7.6.1), and those of the protocol. */
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

  /** `way`: headers that a proxy needs on each request. `login`: user and password of the URL. */
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

  /** The same array until the next `set`; do not change it. */
  get post(): string[] {
    return this.#post;
  }

  stream(lastEventId: string | undefined): string[] {
    const resume = lastEventId === undefined ? [] : ['last-event-id', lastEventId];
    return ['accept', 'text/event-stream', 'cache-control', 'no-store', ...resume, ...this.#bound()];
  }

  /** Returns headers for the DELETE of a session, by default the current one. */
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

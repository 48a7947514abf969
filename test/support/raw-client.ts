/**
 * A client that writes its own bytes, for requests that no HTTP library would send, and splits what comes back into
 * answers. Ends by `timeoutMs`; never keeps a socket.
 */
import { connect } from 'node:net';

export interface RawAnswer {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export interface RawExchange {
  readonly answers: readonly RawAnswer[];
  /** Bytes after the last whole answer. */
  readonly rest: string;
  /** True when the server closed the connection within the time. */
  readonly closed: boolean;
}

export interface RawOptions {
  readonly timeoutMs?: number;
  readonly gapMs?: number;
  /** Of the requests, in order: an answer to HEAD has no body. */
  readonly methods?: readonly string[];
}

/** Writes `pieces` one after the other, `gapMs` apart, and reads until the server closes. */
export function rawExchange(
  to: { readonly port: number } | { readonly path: string },
  pieces: readonly string[],
  { timeoutMs = 5000, gapMs = 0, methods = ['GET'] }: RawOptions = {},
): Promise<RawExchange> {
  return new Promise((resolve) => {
    const socket = 'port' in to ? connect({ port: to.port, host: '127.0.0.1' }) : connect(to.path);
    let text = '';
    const limit = setTimeout(() => finish(false), timeoutMs);
    function finish(closed: boolean): void {
      clearTimeout(limit);
      socket.destroy();
      resolve({ ...answersIn(text, methods), closed });
    }
    function writeAll([piece, ...more]: readonly string[]): void {
      if (piece === undefined || !socket.writable) return;
      socket.write(piece, 'latin1', () => setTimeout(() => writeAll(more), gapMs));
    }
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
    });
    socket.on('error', () => {});
    socket.on('close', () => finish(true));
    socket.on('connect', () => {
      writeAll(pieces);
    });
  });
}

/** `methods` are those of the requests in order: an answer to HEAD has no body. */
export function answersIn(text: string, methods: readonly string[]): Pick<RawExchange, 'answers' | 'rest'> {
  const answers: RawAnswer[] = [];
  let rest = text;
  for (;;) {
    const end = rest.indexOf('\r\n\r\n');
    const line = /^HTTP\/1\.[01] (\d{3})/.exec(rest);
    if (end < 0 || !line) return { answers, rest };
    const status = Number(line[1]);
    const headers = Object.fromEntries(
      rest
        .slice(0, end)
        .split('\r\n')
        .slice(1)
        .map((field) => [field.slice(0, field.indexOf(':')).toLowerCase(), field.slice(field.indexOf(':') + 1).trim()]),
    );
    const hasBody = methods[answers.length] !== 'HEAD' && status !== 204 && status !== 304;
    const length = hasBody ? Number(headers['content-length'] ?? 0) : 0;
    if (rest.length < end + 4 + length) return { answers, rest };
    const body = Buffer.from(rest.slice(end + 4, end + 4 + length), 'latin1').toString('utf8');
    rest = rest.slice(end + 4 + length);
    if (status >= 200) answers.push({ status, headers, body });
  }
}

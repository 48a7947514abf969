/**
 * A client that writes bytes to a hub's port and keeps what comes back; for requests that no HTTP library sends.
 * Guarantees: every wait has an end; `close` destroys the socket.
 */
import { connect, type Socket } from 'node:net';
import { until } from './hub.ts';

const CONNECT_MS = 10_000;

export class RawConnection implements Disposable {
  readonly socket: Socket;
  #text = '';
  #isClosed = false;

  constructor(port: number) {
    this.socket = connect(port, '127.0.0.1');
    this.socket.on('data', (chunk) => {
      this.#text += chunk.toString('latin1');
    });
    this.socket.on('error', () => {});
    this.socket.on('close', () => {
      this.#isClosed = true;
    });
  }

  /** Everything that has come. */
  get text(): string {
    return this.#text;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Status codes of the answers, in order. */
  get statuses(): number[] {
    return [...this.#text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status));
  }

  send(...requests: readonly string[]): void {
    this.socket.write(requests.join(''), 'latin1');
  }

  /** Waits until what has come matches; fails when it does not, or the connection closes. */
  async has(pattern: RegExp, timeoutMs = CONNECT_MS): Promise<void> {
    await until(() => pattern.test(this.#text) || this.#isClosed, timeoutMs).catch(() => {});
    if (!pattern.test(this.#text)) throw new Error(`no ${pattern} in ${JSON.stringify(this.#text.slice(-400))}`);
  }

  async closed(timeoutMs = CONNECT_MS): Promise<void> {
    await until(() => this.#isClosed, timeoutMs, 'the connection to be closed');
  }

  close(): void {
    this.socket.destroy();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** A request as bytes; with a body it has its length. */
export function requestBytes(line: string, headers: Readonly<Record<string, string>> = {}, body?: string): string {
  const fields = Object.entries({ host: '127.0.0.1', ...headers }).map(([name, value]) => `${name}: ${value}\r\n`);
  const length = body === undefined ? '' : `content-length: ${Buffer.byteLength(body)}\r\n`;
  return `${line} HTTP/1.1\r\n${fields.join('')}${length}\r\n${body ?? ''}`;
}

/**
 * A client on raw sockets that writes down what it sent and what came back, byte by byte: no SDK, no fetch, nothing
 * that hides a second answer. One request at a time on one kept connection; ids begin at 1 for every client, so that
 * those of different users collide.
 * Promises: each request has an end in the history (an answer, or the connection's); bytes that nobody asked for are
 * counted.
 */
import { connect, type Socket } from 'node:net';
import { canariesIn, canaryOf, type Recorded } from './history.ts';
import { statelessBody, statelessHeaders } from './stateless.ts';

export interface RecorderOptions {
  readonly port: number;
  readonly key: string;
  /** Number of the user: part of its canaries. */
  readonly user: number;
  /** Something is done to its connection on purpose: it may be cut, and answers may come late. */
  readonly isSpoilt?: boolean;
  /** It speaks 2026-07-28. */
  readonly isStateless?: boolean;
  readonly history: Recorded[];
  /** Another number for each call of all recorders. */
  readonly serial: () => number;
}

interface Came {
  readonly status: number;
  readonly session: string | undefined;
  readonly text: string;
}

const ANSWER_MS = 30_000;
const STRANGE_CHARS = 1000;

export class Recorder {
  readonly #options: RecorderOptions;
  #socket: Socket | undefined;
  #held = Buffer.alloc(0);
  #waiting: ((came: Came | undefined) => void) | undefined;
  #ids = 0;
  session: string | undefined;

  constructor(options: RecorderOptions) {
    this.#options = options;
  }

  /** False = its connection was cut. */
  async open(): Promise<boolean> {
    this.session = undefined;
    const hello = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'recorder', version: '1' } };
    const came = await this.#exchange({ jsonrpc: '2.0', id: 0, method: 'initialize', params: hello });
    this.session = came?.session;
    return this.session !== undefined;
  }

  /** Calls a tool whose answer holds its own text. `abortMs` = the client goes away then. */
  async call(
    tool: string,
    args: object,
    limitMs: number,
    { abortMs, mayBeSpoilt = false }: { readonly abortMs?: number | undefined; readonly mayBeSpoilt?: boolean } = {},
  ): Promise<Recorded> {
    const { user, isSpoilt = false, isStateless = false, history, serial } = this.#options;
    this.#ids += 1;
    const id = this.#ids;
    const canary = canaryOf(user, serial());
    const sentMs = performance.now();
    let isGone = false;
    const leave = (): void => {
      isGone = true;
      this.cut();
    };
    const abort = abortMs === undefined ? undefined : setTimeout(leave, abortMs);
    const [method, params] = [
      'tools/call',
      { name: tool, arguments: { ...args, text: canary }, _meta: { progressToken: id } },
    ];
    const came = isStateless
      ? await this.#exchange(statelessBody(method, params, { id }), statelessHeaders(method, params))
      : await this.#exchange({ jsonrpc: '2.0', id, method, params });
    clearTimeout(abort);
    const text = came?.text ?? '';
    const messages = messagesIn(text);
    const at = messages.findIndex((one) => one.id === id && ('result' in one || 'error' in one));
    const outcome =
      came === undefined ? 'cut' : at < 0 ? 'none' : 'result' in (messages[at] ?? {}) ? 'result' : 'error';
    const isOwn = text.includes(canary);
    const recorded: Recorded = {
      ...{ user, canary, tool, sentMs, limitMs, endMs: performance.now(), mayBeSpoilt },
      isExcused: isSpoilt || isGone,
      answers: messages.filter((one) => one.id !== undefined && !('method' in one)).length,
      ...{ outcome, isOwn },
      ...(outcome === 'result' && !isOwn ? { strange: text.slice(0, STRANGE_CHARS) } : {}),
      // On a connection that is spoilt a token may have become another; a canary knows that of itself.
      foreign:
        canariesIn(text).filter((found) => found !== canary).length + (isSpoilt ? 0 : strangeTokens(messages, id)),
      afterAnswer: at < 0 ? 0 : messages.length - 1 - at,
    };
    history.push(recorded);
    return recorded;
  }

  /** Says something that is answered with 202, on a connection of its own. */
  tell(message: object): Promise<Came | undefined> {
    const other = new Recorder(this.#options);
    other.session = this.session;
    return other.#exchange(message).finally(() => other.close());
  }

  get lastId(): number {
    return this.#ids;
  }

  cut(): void {
    this.#socket?.resetAndDestroy();
  }

  close(): void {
    this.#socket?.destroy();
  }

  #exchange(message: object, more: Readonly<Record<string, string>> = {}): Promise<Came | undefined> {
    const { port, key, history, user } = this.#options;
    return new Promise((done) => {
      const limit = setTimeout(() => this.#socket?.destroy(), ANSWER_MS);
      this.#waiting = (came) => {
        clearTimeout(limit);
        this.#waiting = undefined;
        done(came);
      };
      if (!this.#socket || this.#socket.destroyed) {
        const socket = connect(port, '127.0.0.1');
        this.#socket = socket;
        this.#held = Buffer.alloc(0);
        socket.on('error', () => {});
        socket.on('close', () => {
          if (this.#socket === socket) this.#waiting?.(undefined);
        });
        socket.on('data', (chunk) => {
          this.#held = Buffer.concat([this.#held, chunk]);
          if (this.#waiting) this.#take();
          // Bytes that answer nothing.
          else history.push({ ...UNASKED, user });
        });
      }
      const body = Buffer.from(JSON.stringify(message));
      const head = [
        'POST /mcp HTTP/1.1',
        'host: 127.0.0.1',
        `authorization: Bearer ${key}`,
        'content-type: application/json',
        'accept: application/json, text/event-stream',
        ...Object.entries(more).flatMap(([name, value]) => (name === 'accept' ? [] : [`${name}: ${value}`])),
        ...(this.session === undefined ? [] : [`mcp-session-id: ${this.session}`]),
        `content-length: ${body.length}`,
      ];
      this.#socket.write(Buffer.concat([Buffer.from(`${head.join('\r\n')}\r\n\r\n`), body]));
    });
  }

  #take(): void {
    const headEnd = this.#held.indexOf('\r\n\r\n');
    if (headEnd < 0) return;
    const head = this.#held.toString('latin1', 0, headEnd);
    const status = Number(head.slice(9, 12));
    const session = /^mcp-session-id: (.+)$/im.exec(head)?.[1];
    const length = /^content-length: (\d+)$/im.exec(head)?.[1];
    const from = headEnd + 4;
    if (length !== undefined) {
      const end = from + Number(length);
      if (this.#held.length >= end)
        this.#finish(end, { status, session, text: this.#held.toString('utf8', from, end) });
      return;
    }
    const chunks: Buffer[] = [];
    for (let at = from; ; ) {
      const line = this.#held.indexOf('\r\n', at);
      if (line < 0) return;
      const size = Number.parseInt(this.#held.toString('latin1', at, line), 16);
      // What a spoilt connection says may be no HTTP at all.
      if (!(size >= 0)) return this.cut();
      const end = line + 2 + size + 2;
      if (this.#held.length < end) return;
      if (size === 0) {
        this.#finish(end, { status, session, text: Buffer.concat(chunks).toString('utf8') });
        return;
      }
      chunks.push(this.#held.subarray(line + 2, end - 2));
      at = end;
    }
  }

  #finish(end: number, came: Came): void {
    const rest = this.#held.subarray(end);
    this.#held = Buffer.alloc(0);
    if (rest.length > 0) this.#options.history.push({ ...UNASKED, user: this.#options.user });
    this.#waiting?.(came);
  }
}

const UNASKED: Recorded = {
  ...{ user: 0, canary: '', tool: '', sentMs: 0, endMs: 0, limitMs: 0 },
  ...{ isExcused: false, mayBeSpoilt: false, answers: 0, outcome: 'unasked', isOwn: false, foreign: 0, afterAnswer: 0 },
};

interface Message {
  readonly id?: unknown;
  readonly method?: string;
  readonly params?: { readonly progressToken?: unknown };
}

/** Progress of another call than this. */
function strangeTokens(messages: readonly Message[], id: number): number {
  const progress = messages.filter(({ method }) => method === 'notifications/progress');
  return progress.filter(({ params }) => params?.progressToken !== id).length;
}

function messagesIn(text: string): Message[] {
  const lines = text.startsWith('{')
    ? [text]
    : text.split('\n').flatMap((l) => (l.startsWith('data: ') ? [l.slice(6)] : []));
  return lines.flatMap((line) => {
    try {
      return [JSON.parse(line) as Message];
    } catch {
      return [];
    }
  });
}

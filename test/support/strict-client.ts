/**
 * Clients that check every byte they receive (`strictly.ts`): over HTTP, with a session or without one, and over the
 * standard output of `mcphub bridge`. Each wait has an end; `close` leaves no socket and no process.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { Agent, request } from 'node:http';
import { CLI, cleanEnv } from './hub.ts';
import { type StrictMessage, strictBody, strictEvents, strictLines } from './strictly.ts';

export interface StrictAnswer {
  /** The last message; undefined = no body (202). */
  readonly reply: StrictMessage | undefined;
  /** What came before it on its stream. */
  readonly before: readonly StrictMessage[];
  readonly isStream: boolean;
  readonly raw: Buffer;
}

export interface Caller {
  /** Sends a request, and rejects when anything that comes back is invalid. */
  ask(message: object | string): Promise<StrictAnswer>;
  close(): void;
}

const HELLO = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'strict', version: '1' } };
const TIMEOUT_MS = 30_000;

export class StrictClient implements Caller {
  readonly #hub: { readonly port: number; readonly key: string };
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 64 });
  #session: string | undefined;

  constructor(hub: { readonly port: number; readonly key: string }) {
    this.#hub = hub;
  }

  /** Begins a session. */
  async open(): Promise<this> {
    await this.ask({ jsonrpc: '2.0', id: 0, method: 'initialize', params: HELLO });
    await this.ask({ jsonrpc: '2.0', method: 'notifications/initialized' });
    return this;
  }

  ask(message: object | string | Buffer, headers: Readonly<Record<string, string>> = {}): Promise<StrictAnswer> {
    const { port, key } = this.#hub;
    const own = {
      ...{ 'content-type': 'application/json', accept: 'application/json, text/event-stream' },
      ...{ authorization: `Bearer ${key}`, ...headers },
      ...(this.#session === undefined ? {} : { 'mcp-session-id': this.#session }),
    };
    return new Promise((resolve, reject) => {
      const at = { host: '127.0.0.1', port, path: '/mcp', method: 'POST', headers: own, agent: this.#agent };
      const sent = request(at, (answer) => {
        const chunks: Buffer[] = [];
        answer.on('data', (chunk: Buffer) => chunks.push(chunk));
        answer.on('error', reject);
        answer.on('end', () => {
          this.#session ??= answer.headers['mcp-session-id'] as string | undefined;
          const raw = Buffer.concat(chunks);
          const isStream = answer.headers['content-type']?.startsWith('text/event-stream') === true;
          try {
            const messages = raw.length === 0 ? [] : isStream ? strictEvents(raw) : strictBody(raw);
            resolve({ reply: messages.at(-1), before: messages.slice(0, -1), isStream, raw });
          } catch (fault) {
            reject(fault);
          }
        });
      });
      const limit = setTimeout(() => sent.destroy(new Error(`no answer within ${TIMEOUT_MS} ms`)), TIMEOUT_MS);
      sent.on('close', () => clearTimeout(limit));
      sent.on('error', reject);
      sent.end(typeof message === 'string' || Buffer.isBuffer(message) ? message : JSON.stringify(message));
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}

interface Waiting {
  readonly before: StrictMessage[];
  readonly resolve: (answer: StrictAnswer) => void;
  readonly reject: (fault: unknown) => void;
}

export class StrictBridge implements Caller {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<string, Waiting>();
  #rest: Buffer = Buffer.alloc(0);
  #fault: unknown;

  /** `to` = the data directory of this machine's hub, or the URL of one and a key for it. */
  constructor(to: string | { readonly url: string; readonly key: string }) {
    const args = typeof to === 'string' ? ['--data-dir', to] : ['--url', to.url];
    this.#child = spawn(process.execPath, [CLI, 'bridge', ...args], {
      env: { ...cleanEnv(), ...(typeof to === 'string' ? {} : { MCPHUB_KEY: to.key }) },
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    this.#child.stdout?.on('data', (chunk: Buffer) => this.#read(chunk));
  }

  async open(): Promise<this> {
    await this.ask({ jsonrpc: '2.0', id: 0, method: 'initialize', params: HELLO });
    this.#child.stdin?.write('{"jsonrpc":"2.0","method":"notifications/initialized"}\n');
    return this;
  }

  ask(message: object | string): Promise<StrictAnswer> {
    if (this.#fault !== undefined) return Promise.reject(this.#fault);
    const text = typeof message === 'string' ? message : JSON.stringify(message);
    const key = String((JSON.parse(text) as StrictMessage).id).toWellFormed();
    return new Promise((resolve, reject) => {
      const limit = setTimeout(() => reject(new Error(`no answer within ${TIMEOUT_MS} ms`)), TIMEOUT_MS);
      const done = <T>(settle: (value: T) => void) => {
        return (value: T) => {
          clearTimeout(limit);
          this.#waiting.delete(key);
          settle(value);
        };
      };
      this.#waiting.set(key, { before: [], resolve: done(resolve), reject: done(reject) });
      this.#child.stdin?.write(`${text}\n`);
    });
  }

  close(): void {
    this.#child.kill('SIGKILL');
  }

  #read(chunk: Buffer): void {
    try {
      const { messages, rest } = strictLines(Buffer.concat([this.#rest, chunk]));
      this.#rest = rest;
      for (const message of messages) {
        if ('method' in message) for (const { before } of this.#waiting.values()) before.push(message);
        else {
          const waiting = this.#waiting.get(String(message.id));
          waiting?.resolve({ reply: message, before: waiting.before, isStream: false, raw: Buffer.alloc(0) });
        }
      }
    } catch (fault) {
      this.#fault = fault;
      for (const { reject } of [...this.#waiting.values()]) reject(fault);
    }
  }
}

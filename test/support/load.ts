/**
 * Many clients at a running hub: keep-alive requests on node:http, GET streams, and what the hub says of itself on its
 * private socket.
 * Promises: every request has an end (answer, fault or time limit) and is counted; `close` leaves no socket.
 */
import { spawn } from 'node:child_process';
import { Agent, type ClientRequest, get, type IncomingMessage, request } from 'node:http';
import { join } from 'node:path';
import { runDirFor } from '../../src/config/paths.ts';
import { ROOT, type RunningHub } from './hub.ts';

export interface Answer {
  /** 0 = no answer: `fault` says why. */
  readonly status: number;
  readonly text: string;
  readonly fault: string | undefined;
  readonly ms: number;
  readonly session: string | undefined;
}

/** A stdio server of `fault-stdio.ts`, as it stands in mcp_settings.json. */
export function stdioServer(mode = 'normal', ...more: string[]): object {
  return { command: process.execPath, args: [join(ROOT, 'test/support/fault-stdio.ts'), mode, ...more] };
}

export class Client {
  readonly #hub: { readonly port: number; readonly key: string };
  readonly #agent: Agent;
  readonly #streams: ClientRequest[] = [];
  session: string | undefined;
  /** Pieces, comments and events with a message seen on its GET streams. */
  pieces = 0;
  comments = 0;
  events = 0;
  /** GET streams that ended. */
  ended = 0;

  constructor(hub: { readonly port: number; readonly key: string }, sockets = 1) {
    this.#hub = hub;
    this.#agent = new Agent({ keepAlive: true, maxSockets: sockets });
  }

  post(message: object, timeoutMs = 20_000): Promise<Answer> {
    const bornMs = performance.now();
    const body = JSON.stringify(message);
    return new Promise((done) => {
      const finish = (status: number, text: string, fault?: string, answer?: IncomingMessage): void =>
        done({
          status,
          text,
          fault,
          ms: performance.now() - bornMs,
          session: answer?.headers['mcp-session-id'] as string | undefined,
        });
      const sent = request(
        { ...this.#address(), method: 'POST', headers: { ...this.#headers(), 'content-type': 'application/json' } },
        (answer) => {
          let text = '';
          answer.setEncoding('utf8');
          answer.on('data', (chunk: string) => {
            text += chunk;
          });
          answer.on('error', (fault) => finish(0, text, fault.message));
          answer.on('end', () => finish(answer.statusCode ?? 0, text, undefined, answer));
        },
      );
      const limit = setTimeout(() => sent.destroy(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
      sent.on('close', () => clearTimeout(limit));
      sent.on('error', (fault) => finish(0, '', fault.message));
      sent.end(body);
    });
  }

  call(name: string, args: object = {}, timeoutMs?: number): Promise<Answer> {
    return this.post({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name, arguments: args } }, timeoutMs);
  }

  list(timeoutMs?: number): Promise<Answer> {
    return this.post({ jsonrpc: '2.0', id: 1, method: 'tools/list', params: {} }, timeoutMs);
  }

  /** initialize and initialized; keeps the session id. */
  async open(): Promise<void> {
    const answer = await this.post({
      jsonrpc: '2.0',
      id: 0,
      method: 'initialize',
      params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'load', version: '1' } },
    });
    if (answer.status !== 200 || !answer.session)
      throw new Error(`initialize: ${answer.status} ${answer.fault ?? answer.text}`);
    this.session = answer.session;
    await this.post({ jsonrpc: '2.0', method: 'notifications/initialized' });
  }

  /** The GET stream; resolves with the status when the answer's head is there. */
  listen(): Promise<number> {
    return new Promise((done) => {
      const stream = get(
        { ...this.#address(), agent: false, headers: { ...this.#headers(), accept: 'text/event-stream' } },
        (answer) => {
          done(answer.statusCode ?? 0);
          answer.setEncoding('utf8');
          answer.on('data', (chunk: string) => {
            this.pieces += 1;
            this.comments += chunk.split('\n').filter((line) => line.startsWith(':')).length;
            this.events += chunk.split('\n').filter((line) => /^data: *\{/.test(line)).length;
          });
          answer.on('error', () => {});
          answer.on('close', () => {
            this.ended += 1;
          });
        },
      );
      stream.on('error', () => done(0));
      this.#streams.push(stream);
    });
  }

  close(): void {
    for (const stream of this.#streams) stream.destroy();
    this.#agent.destroy();
  }

  #address(): { host: string; port: number; path: string; agent: Agent } {
    return { host: '127.0.0.1', port: this.#hub.port, path: '/mcp', agent: this.#agent };
  }

  #headers(): Record<string, string> {
    const headers: Record<string, string> = { authorization: `Bearer ${this.#hub.key}` };
    if (this.session !== undefined) headers['mcp-session-id'] = this.session;
    return headers;
  }
}

/** What a hub says on its private socket, parsed; undefined = no answer in time. */
// biome-ignore lint/suspicious/noExplicitAny: answers are looked into by the tests
export function askHub(hub: RunningHub, path: string, slot = 1): Promise<any> {
  return askSocket(hub, `hub-${slot}.sock`, path);
}

/** What control says to the operator, as `askHub`. */
// biome-ignore lint/suspicious/noExplicitAny: answers are looked into by the tests
export function askControl(hub: RunningHub, path: string): Promise<any> {
  return askSocket(hub, 'control.sock', path);
}

function askSocket(hub: RunningHub, name: string, path: string): Promise<unknown> {
  const socketPath = join(runDirFor(hub.dataDir), name);
  return new Promise((done) => {
    const asked = get({ socketPath, path, agent: false, timeout: 3000 }, (answer) => {
      let text = '';
      answer.setEncoding('utf8');
      answer.on('data', (chunk: string) => {
        text += chunk;
      });
      answer.on('end', () => done(JSON.parse(text)));
      answer.on('error', () => done(undefined));
    });
    asked.on('timeout', () => asked.destroy());
    asked.on('error', () => done(undefined));
  });
}

export function isResult(answer: Answer): boolean {
  return answer.status === 200 && answer.text.includes('"result"') && !answer.text.includes('"isError":true');
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

/** What starting a bare node takes on a free machine of this kind (two cores), ms. */
const BARE_START_MS = 60;

/**
 * How much slower than free this machine is right now, 1 or more: times of a gate are multiplied by it. The gates
 * measure the hub and not what else runs beside it.
 */
export async function slowness(): Promise<number> {
  const took: number[] = [];
  for (let round = 0; round < 3; round += 1) {
    const bornMs = performance.now();
    await new Promise((done) => spawn(process.execPath, ['-e', '0'], { stdio: 'ignore' }).once('exit', done));
    took.push(performance.now() - bornMs);
  }
  return Math.max(1, median(took) / BARE_START_MS);
}

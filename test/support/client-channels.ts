/**
 * The ways in which a client sends one JSON-RPC message to a hub: POST, a batch, the SSE endpoint of 2024-11-05, and
 * `mcphub bridge`. Messages are sent as the text they are.
 * Guarantees: every wait has an end; a channel that is closed leaves no socket and no process.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import { SseDecoder } from '../../src/protocol/sse.ts';
import { CLI, cleanEnv, within } from './hub.ts';
import { post } from './mcp.ts';

// biome-ignore lint/suspicious/noExplicitAny: answers are looked into by the tests
type Loose = any;

export interface ChannelAnswer {
  /** HTTP status; 0 where the channel has none. */
  readonly status: number;
  /** The JSON-RPC answer; undefined = none came. */
  readonly json: Loose;
}

export interface Channel extends AsyncDisposable {
  readonly name: string;
  /**
   * Sends one message and returns what answers it; of a notification what came before the answer to the next message.
   */
  send(text: string): Promise<ChannelAnswer>;
}

interface Target {
  readonly url: string;
  readonly port: number;
  readonly key: string;
  readonly dataDir: string;
}

const ANSWER_MS = 10_000;

export function postChannel(hub: Target, headers: Record<string, string> = {}): Channel {
  return {
    name: 'POST',
    async send(text) {
      const { status, json } = await post(`${hub.url}/mcp`, text, { key: hub.key, headers });
      return { status, json };
    },
    async [Symbol.asyncDispose]() {},
  };
}

export function batchChannel(hub: Target): Channel {
  return {
    name: 'batch',
    async send(text) {
      const { status, json } = await post(`${hub.url}/mcp`, `[${text}]`, { key: hub.key });
      return { status, json: Array.isArray(json) ? json[0] : json };
    },
    async [Symbol.asyncDispose]() {},
  };
}

/** Messages as they arrive. */
class Inbox {
  #received: Loose[] = [];
  #probes = 0;
  #look = (): void => {};

  take(text: string): void {
    this.#received.push(JSON.parse(text));
    this.#look();
  }

  /** The next reply. */
  async reply(): Promise<Loose> {
    const isReply = ({ method }: Loose) => method === undefined;
    return (await this.#until(isReply, 'a reply')).find(isReply);
  }

  /** Sends a ping and returns a reply that came before its answer; undefined = there was none. */
  async replyBeforePing(write: (text: string) => unknown): Promise<Loose> {
    this.#probes += 1;
    const id = `probe-${this.#probes}`;
    await write(JSON.stringify({ jsonrpc: '2.0', id, method: 'ping' }));
    const isAnswer = (message: Loose) => message.id === id;
    const received = await this.#until(isAnswer, `the answer to ${id}`);
    return received.find((message) => !isAnswer(message) && message.method === undefined);
  }

  /** Takes out everything that has come once a message fits. */
  async #until(fits: (message: Loose) => boolean, what: string): Promise<Loose[]> {
    const arrived = new Promise<void>((resolve) => {
      this.#look = () => this.#received.some(fits) && resolve();
      this.#look();
    });
    await within(arrived, ANSWER_MS, () => `${what} did not come`);
    const received = this.#received;
    this.#received = [];
    return received;
  }
}

/** Opens GET /sse; messages are sent by POST to the address that it names. */
export async function sseChannel(hub: Target): Promise<Channel> {
  const inbox = new Inbox();
  const { promise: endpoint, resolve } = Promise.withResolvers<string>();
  const decoder = new SseDecoder(1_000_000, ({ event, data }) => {
    const text = data.toString('utf8');
    if (event === 'endpoint') resolve(text);
    else inbox.take(text);
  });
  const stream: ClientRequest = request({
    ...{ host: '127.0.0.1', port: hub.port, path: '/sse', agent: false },
    headers: { accept: 'text/event-stream', authorization: `Bearer ${hub.key}` },
  });
  stream.on('error', () => {});
  stream.on('response', (answer: IncomingMessage) => {
    answer.on('error', () => {});
    answer.on('data', (chunk: Buffer) => decoder.push(Buffer.from(chunk)));
  });
  stream.end();
  const place = await within(endpoint, ANSWER_MS, () => 'GET /sse named no endpoint');
  const address = new URL(place, `${hub.url}/sse`).href;
  return {
    name: '/messages',
    async send(text) {
      const { status, json } = await post(address, text, { key: hub.key });
      if (status >= 400) return { status, json };
      if (isIdentified(text)) return { status, json: await inbox.reply() };
      return { status, json: await inbox.replyBeforePing((ping) => post(address, ping, { key: hub.key })) };
    },
    async [Symbol.asyncDispose]() {
      stream.destroy();
    },
  };
}

/** Starts `mcphub bridge` at the hub's own socket, or where `args` and `env` say. */
export function bridgeChannel(
  hub: Pick<Target, 'dataDir'>,
  args: readonly string[] = [],
  env: Record<string, string> = {},
): Channel {
  const inbox = new Inbox();
  const child: ChildProcess = spawn(process.execPath, [CLI, 'bridge', ...args, '--data-dir', hub.dataDir], {
    env: { ...cleanEnv(), ...env },
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  let rest = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    const lines = (rest + chunk.toString('utf8')).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) inbox.take(line);
  });
  const write = (text: string): void => void child.stdin?.write(`${text}\n`);
  return {
    name: 'bridge',
    async send(text) {
      write(text);
      return { status: 0, json: isIdentified(text) ? await inbox.reply() : await inbox.replyBeforePing(write) };
    },
    async [Symbol.asyncDispose]() {
      const ended = new Promise<void>((done) => child.once('exit', () => done()));
      child.stdin?.end();
      await within(ended, 15_000, () => 'the bridge did not end');
    },
  };
}

/** True when the text has an id that an answer can carry. */
function isIdentified(text: string): boolean {
  return /"id":("|-?\d)/.test(text);
}

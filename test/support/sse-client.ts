/**
 * A client of Streamable HTTP that looks at every byte: bodies are sent as the text they are, streams are read event by
 * event with their ids, sockets are kept or dropped at will.
 * Promises: what it received is kept whole (`received`); every wait has an end; `close` leaves no socket.
 */
import { Agent, type ClientRequest, type IncomingMessage, request } from 'node:http';
import { until } from './hub.ts';

export interface StreamEvent {
  readonly id: string | undefined;
  /** Without the line ends between its data lines. */
  readonly data: string;
}

const BOTH = 'application/json, text/event-stream';
const ANSWER_MS = 30_000;

/** One answer that is read as it comes, a stream or not. */
export class Reading {
  readonly #sent: ClientRequest;
  readonly events: StreamEvent[] = [];
  /** 0 = there is none yet. */
  status = 0;
  type = '';
  session: string | undefined;
  /** Everything that came, fields of the head included. */
  received = '';
  body = '';
  /** It came to its end. */
  ended = false;
  /** It is over, in whatever way. */
  over = false;
  fault: string | undefined;
  #rest = '';

  constructor(sent: ClientRequest, overed: (reading: Reading) => void = () => {}) {
    this.#sent = sent;
    sent.on('response', (answer) => this.#read(answer));
    sent.on('error', (fault) => {
      this.fault ??= fault.message;
    });
    sent.on('close', () => {
      this.over = true;
      overed(this);
    });
  }

  get isStream(): boolean {
    return this.type.startsWith('text/event-stream');
  }

  /** Events with data, as text. */
  get messages(): string[] {
    return this.events.flatMap(({ data }) => (data === '' ? [] : [data]));
  }

  get lastId(): string | undefined {
    return this.events.findLast(({ id }) => id !== undefined)?.id;
  }

  /** The socket is gone at once. */
  drop(): void {
    this.#sent.destroy();
  }

  /** Status 0 = over without an answer. */
  async head(timeoutMs = ANSWER_MS): Promise<this> {
    await until(() => this.status !== 0 || this.over, timeoutMs, 'an answer');
    return this;
  }

  async answered(timeoutMs = ANSWER_MS): Promise<this> {
    await this.head(timeoutMs);
    if (this.status === 0) throw new Error(`no answer: ${this.fault}`);
    return this;
  }

  async hasMessages(count: number, timeoutMs = ANSWER_MS): Promise<void> {
    await until(() => this.messages.length >= count || this.over, timeoutMs, `message ${count}`);
    if (this.messages.length < count)
      throw new Error(`over after ${this.messages.length} of ${count}: ${this.received}`);
  }

  async end(timeoutMs = ANSWER_MS): Promise<this> {
    await until(() => this.over, timeoutMs, `the end of ${this.received || 'an answer'}`);
    return this;
  }

  #read(answer: IncomingMessage): void {
    this.status = answer.statusCode ?? 0;
    this.type = answer.headers['content-type'] ?? '';
    this.session = answer.headers['mcp-session-id'] as string | undefined;
    this.received = `${answer.rawHeaders.join('\n')}\n\n`;
    answer.setEncoding('utf8');
    answer.on('data', (chunk: string) => {
      this.received += chunk;
      this.body += chunk;
      if (this.isStream) this.#split(chunk);
    });
    answer.on('end', () => {
      this.ended = true;
    });
    answer.on('error', (fault) => {
      this.fault ??= fault.message;
    });
  }

  #split(chunk: string): void {
    const blocks = (this.#rest + chunk).split('\n\n');
    this.#rest = blocks.pop() ?? '';
    for (const block of blocks) {
      const fields = block
        .split('\n')
        .map((line) => [line.split(':', 1)[0] ?? '', line.replace(/^\w*: ?/, '')] as const);
      const id = fields.find(([name]) => name === 'id')?.[1];
      const data = fields.flatMap(([name, value]) => (name === 'data' ? [value] : [])).join('\n');
      if (id !== undefined || data !== '') this.events.push({ id, data });
    }
  }
}

export interface SseClientOptions {
  readonly port: number;
  readonly key: string;
  /** Kept sockets; default 1. */
  readonly sockets?: number;
}

export class SseClient {
  readonly #port: number;
  readonly #key: string;
  readonly #agent: Agent;
  readonly #open = new Set<Reading>();
  session = '';

  constructor({ port, key, sockets = 1 }: SseClientOptions) {
    this.#port = port;
    this.#key = key;
    this.#agent = new Agent({ keepAlive: true, maxSockets: sockets });
  }

  /** initialize and initialized; keeps the session id. */
  async open(version = '2025-11-25'): Promise<this> {
    const params = { protocolVersion: version, capabilities: {}, clientInfo: { name: 'sse-client', version: '1' } };
    const hello = this.post(JSON.stringify({ jsonrpc: '2.0', id: 0, method: 'initialize', params }));
    const { status, session, received } = await hello.end();
    if (status !== 200 || session === undefined) throw new Error(`initialize: ${status} ${received}`);
    this.session = session;
    await this.post('{"jsonrpc":"2.0","method":"notifications/initialized"}').end();
    return this;
  }

  /** On a kept socket. */
  post(body: string, accept = BOTH): Reading {
    return this.#send('POST', { 'content-type': 'application/json', accept }, { body, agent: this.#agent });
  }

  /** On a socket of its own. */
  postAlone(body: string): Reading {
    return this.#send('POST', { 'content-type': 'application/json', accept: BOTH }, { body, agent: false });
  }

  /** A GET stream, on a socket of its own; `lastEventId` = going on with one that was lost. */
  get(lastEventId?: string): Reading {
    const more = lastEventId === undefined ? {} : { 'last-event-id': lastEventId };
    return this.#send('GET', { accept: 'text/event-stream', ...more }, { agent: false });
  }

  delete(): Reading {
    return this.#send('DELETE', {}, { agent: false });
  }

  close(): void {
    for (const reading of this.#open) reading.drop();
    this.#agent.destroy();
  }

  #send(
    method: string,
    fields: Record<string, string>,
    { body, agent }: { body?: string; agent: Agent | false },
  ): Reading {
    const headers: Record<string, string> = { authorization: `Bearer ${this.#key}`, ...fields };
    if (this.session !== '') headers['mcp-session-id'] = this.session;
    const sent = request({ host: '127.0.0.1', port: this.#port, path: '/mcp', method, headers, agent });
    const reading = new Reading(sent, (over) => this.#open.delete(over));
    this.#open.add(reading);
    sent.end(body);
    return reading;
  }
}

/** A `tools/call` with its id and token as the JSON text they are; the arguments stand last. */
export function callText(
  name: string,
  args: string,
  { id = '1', token }: { readonly id?: string; readonly token?: string | undefined } = {},
): string {
  const meta = token === undefined ? '' : `"_meta":{"progressToken":${token}},`;
  return `{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":{"name":"${name}",${meta}"arguments":${args}}}`;
}

/** A hub at which a key that is not known yet may be tried at will. */
export const NEW_KEYS_ENV = { MCPHUB_FAILED_KEYS_PER_MINUTE: '100000', MCPHUB_ADDRESS_PER_SECOND: '100000' };

/** A key of another user, once every hub knows it; these take connections in turn. */
export async function makeKey(
  hub: { readonly url: string; readonly key: string; readonly port: number },
  user: string,
): Promise<string> {
  const answer = await fetch(`${hub.url}/api/keys`, {
    method: 'POST',
    headers: { authorization: `Bearer ${hub.key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ user, name: 'test' }),
  });
  const { secret } = (await answer.json()) as { secret?: string };
  if (secret === undefined) throw new Error(`no key for ${user}: ${answer.status}`);
  const client = new SseClient({ port: hub.port, key: secret });
  let known = 0;
  await until(
    async () => {
      const { status } = await client.postAlone('{"jsonrpc":"2.0","id":1,"method":"ping"}').end();
      known = status === 200 ? known + 1 : 0;
      return known === 6;
    },
    30_000,
    `the key of ${user}`,
  );
  return secret;
}

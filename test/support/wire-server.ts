/**
 * A Streamable HTTP server of the 2025 era whose behaviour on the wire a test writes itself, request by request; what a
 * test does not answer is answered as it should be: JSON, a session id at initialize, no GET stream, two tools (`echo`,
 * `big`).
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface WireMessage {
  readonly id?: number | string;
  readonly method?: string;
  readonly params?: Readonly<Record<string, unknown>> & { readonly name?: string; readonly protocolVersion?: string };
  readonly error?: { readonly code: number };
  readonly result?: object;
}

/** One request; `message` is empty for GET and DELETE. */
export interface WireRequest {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly message: WireMessage;
  readonly path: string;
  /** The JSON-RPC reply that would be sent; undefined = it wants none. */
  readonly reply: string | undefined;
}

export interface WireServer extends AsyncDisposable {
  readonly url: string;
  readonly origin: string;
  /** All requests: method of HTTP, path, method of JSON-RPC. */
  readonly seen: readonly { readonly verb: string; readonly path: string; readonly method: string }[];
  count(method: string): number;
}

export interface WireBehaviour {
  /** True = it has answered, or does not want to. */
  readonly on?: (at: WireRequest) => boolean | undefined;
  /** Headers of its usual answers. */
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
}

export const sse = (...messages: readonly string[]): string =>
  messages.map((message) => `data: ${message}\n\n`).join('');

export async function startWireServer({ on, headers = {} }: WireBehaviour = {}): Promise<WireServer> {
  const seen: { verb: string; path: string; method: string }[] = [];
  const server = createServer((request, response) => {
    response.on('error', () => {});
    const chunks: Buffer[] = [];
    request.on('error', () => {});
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const text = Buffer.concat(chunks).toString('utf8');
      const message = (text === '' ? {} : JSON.parse(text)) as WireMessage;
      const path = request.url ?? '';
      const verb = request.method ?? '';
      seen.push({ verb, path, method: message.method ?? (verb === 'POST' ? 'reply' : verb) });
      const result = message.id === undefined || message.method === undefined ? undefined : resultOf(message);
      const reply = result && JSON.stringify({ jsonrpc: '2.0', id: message.id, ...result });
      const at = { request, response, message, path, reply };
      if (!on?.(at)) answerAsUsual(at, headers);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url: `${origin}/mcp`,
    origin,
    seen,
    count: (method) => seen.filter((one) => one.method === method).length,
    async [Symbol.asyncDispose]() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
  };
}

export function answerAsUsual(
  { request, response, message, reply }: WireRequest,
  headers: WireBehaviour['headers'] = {},
): void {
  if (request.method === 'DELETE') return void response.writeHead(200).end();
  if (request.method !== 'POST') return void response.writeHead(405).end();
  if (reply === undefined) return void response.writeHead(202).end();
  const session = message.method === 'initialize' ? { 'mcp-session-id': 'wire' } : {};
  response.writeHead(200, { 'content-type': 'application/json', ...session, ...headers } as never).end(reply);
}

function resultOf({ method, params }: WireMessage): object {
  if (method === 'initialize')
    return {
      result: {
        protocolVersion: params?.protocolVersion ?? '2025-11-25',
        capabilities: { tools: { listChanged: true } },
        serverInfo: { name: 'wire', version: '1' },
      },
    };
  const tools = ['echo', 'big'].map((name) => ({ name, inputSchema: { type: 'object' } }));
  if (method === 'tools/list') return { result: { tools } };
  if (method === 'ping') return { result: {} };
  const text = params?.name === 'big' ? 'x'.repeat(1_000_000) : 'echoed';
  if (method === 'tools/call') return { result: { content: [{ type: 'text', text }] } };
  return { error: { code: -32601, message: `not known: ${method}` } };
}

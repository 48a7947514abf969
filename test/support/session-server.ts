/**
 * A strict Streamable HTTP server with sessions that can lose them, change its era or its tools, and says in one of
 * many forms that a session is unknown. It is well again at once: only a new initialize is needed.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

interface Message {
  readonly id?: number;
  readonly method?: string;
  readonly params?: { readonly name?: string; readonly _meta?: Readonly<Record<string, unknown>> };
}

/** How it answers a request in a session that it does not know. */
export type Form = (response: ServerResponse, message: Message) => void;

const page =
  (status: number, text: string, type = 'text/plain'): Form =>
  (response) =>
    void response.writeHead(status, { 'content-type': type }).end(text);
const json =
  (status: number, code: number, id: 'null' | 'own' = 'null'): Form =>
  (response, message) => {
    const error = { code, message: 'Session not found' };
    const text = JSON.stringify({ jsonrpc: '2.0', id: id === 'own' ? message.id : null, error });
    response.writeHead(status, { 'content-type': 'application/json' }).end(text);
  };

export const FORMS: Readonly<Record<string, Form>> = {
  notfound: page(404, 'Session not found'),
  notfoundjson: json(404, -32001),
  badjson: json(400, -32000),
  badrequest: json(400, -32600),
  badcode: json(400, -32001),
  text: page(400, 'Invalid session ID'),
  empty: page(400, ''),
  event: page(
    400,
    'data: {"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"gone"}}\n\n',
    'text/event-stream',
  ),
  okay: json(200, -32600),
  own: json(200, -32600, 'own'),
  gone: page(410, 'Gone'),
  unprocessable: page(422, 'no such session'),
  broken: page(500, 'KeyError: session'),
};

export interface SessionServer extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  /** Requests by method. */
  readonly seen: Record<string, number>;
  /** Forgets all sessions. */
  forget(): void;
  /** The other era, from now on, without sessions in either. */
  changeEra(): void;
  tools: readonly string[];
}

/**
 * `ping` = how it answers that, if not as it should (`always` = without looking at the session); tool `missing` is
 * answered 404 in a good session.
 */
export async function startSessionServer(
  options: {
    readonly form?: Form;
    readonly sessions?: boolean;
    readonly ping?: 'silent' | 'always' | number;
    /** Default: a free one. */
    readonly port?: number;
    readonly tools?: readonly string[];
  } = {},
): Promise<SessionServer> {
  const { form = page(404, 'no session'), sessions = true, ping, port = 0, tools = ['echo', 'missing'] } = options;
  const seen: Record<string, number> = {};
  const known = new Set<string>();
  let next = 1;
  let isModern = false;
  const self = { tools };

  function resultOf(method: string): object | undefined {
    const era = isModern ? { resultType: 'complete' } : {};
    if (method === 'tools/list')
      return { ...era, tools: self.tools.map((name) => ({ name, inputSchema: { type: 'object' } })) };
    if (method === 'tools/call') return { ...era, content: [{ type: 'text', text: 'called' }] };
    if (method === 'ping' && !isModern) return {};
    if (method === 'server/discover' && isModern)
      return { ...era, supportedVersions: ['2026-07-28'], capabilities: { tools: {} } };
    if (method === 'initialize' && !isModern)
      return {
        protocolVersion: '2025-11-25',
        capabilities: { tools: {} },
        serverInfo: { name: 'strict', version: '1' },
      };
    return undefined;
  }

  function answer(request: IncomingMessage, response: ServerResponse, message: Message): void {
    const { id, method = '' } = message;
    seen[method] = (seen[method] ?? 0) + 1;
    const session = request.headers['mcp-session-id'];
    const isNew = method === 'initialize' && session === undefined;
    const isFree = isNew || (method === 'ping' && ping === 'always');
    if (sessions && !isModern && !isFree && !known.has(String(session))) return form(response, message);
    if (id === undefined) return void response.writeHead(202).end();
    if (method === 'ping' && ping === 'silent') return;
    if (method === 'ping' && typeof ping === 'number') return void response.writeHead(ping).end('no ping here');
    if (method === 'tools/call' && message.params?.name === 'missing')
      return void response.writeHead(404, { 'content-type': 'text/plain' }).end('no such document');
    const tool = message.params?.name ?? '';
    if (method === 'tools/call' && !self.tools.includes(tool)) {
      const error = { code: -32602, message: `Unknown tool: ${tool}` };
      return void response
        .writeHead(200, { 'content-type': 'application/json' })
        .end(JSON.stringify({ jsonrpc: '2.0', id, error }));
    }
    const isDated = message.params?._meta?.['io.modelcontextprotocol/protocolVersion'] !== undefined;
    const result = isModern && !isDated ? undefined : resultOf(method);
    const error = { code: method === 'initialize' ? -32601 : -32602, message: `not known: ${method}` };
    const given = sessions && !isModern && isNew ? `s${next}` : undefined;
    if (given !== undefined) {
      next += 1;
      known.add(given);
    }
    response.writeHead(200, {
      'content-type': 'application/json',
      ...(given === undefined ? {} : { 'mcp-session-id': given }),
    });
    response.end(JSON.stringify({ jsonrpc: '2.0', id, ...(result ? { result } : { error }) }));
  }

  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      if (request.method !== 'POST') return void response.writeHead(405).end();
      answer(request, response, JSON.parse(Buffer.concat(chunks).toString('utf8')) as Message);
    });
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  const address = server.address() as AddressInfo;
  return Object.assign(self, {
    port: address.port,
    url: `http://127.0.0.1:${address.port}/mcp`,
    seen,
    forget: () => known.clear(),
    changeEra() {
      isModern = !isModern;
      known.clear();
    },
    async [Symbol.asyncDispose]() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
  });
}

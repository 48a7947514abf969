/**
 * A Streamable HTTP server that allows one session at a time: another initialize is refused until the session is
 * DELETEd, in one of several forms.
 */
import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

interface Message {
  readonly id?: number;
  readonly method?: string;
  readonly params?: { readonly protocolVersion?: string; readonly name?: string };
}

type Refusal = (response: ServerResponse, message: Message) => void;

const json =
  (status: number, id: 'own' | 'null'): Refusal =>
  (response, message) => {
    const error = { code: -32600, message: 'Invalid Request: Server already initialized' };
    const text = JSON.stringify({ jsonrpc: '2.0', id: id === 'own' ? message.id : null, error });
    response.writeHead(status, { 'content-type': 'application/json' }).end(text);
  };
const text =
  (status: number): Refusal =>
  (response) =>
    void response.writeHead(status, { 'content-type': 'text/plain' }).end('Server already initialized');

/** How a second initialize is refused. */
export const ONE_SESSION: Readonly<Record<string, Refusal>> = {
  bad: json(400, 'null'),
  badown: json(400, 'own'),
  conflict: text(409),
  okay: json(200, 'own'),
  oktext: text(200),
  badtext: text(400),
};

export interface SingleSessionServer extends AsyncDisposable {
  readonly url: string;
  /** The session that it has; undefined = none. */
  readonly session: string | undefined;
  /** What came, in order: methods, and `DELETE <session>`. */
  readonly seen: readonly string[];
  /** Its sessions, in order: `open <session>` and `end <session>`. */
  readonly sessions: readonly string[];
  /** Headers of all requests that had an Authorization or a session. */
  readonly shown: readonly { readonly session: string | undefined; readonly authorization: string | undefined }[];
  /** The session ends, as with a restart of the server. */
  restart(): void;
  /** Requests with an id that another one of the session had. */
  readonly repeatedIds: readonly number[];
  /** Status by which DELETE is refused, from now on; undefined = it ends the session. */
  deleteStatus: number | undefined;
  /** How long it takes to answer initialize, ms, from now on. */
  initializeMs: number;
  /** The same for `tools/call`. A call whose session has ended meanwhile is cut off. */
  callMs: number;
  /** Gives this id to each who initializes, and refuses nobody. */
  fixedId: string | undefined;
}

export async function startSingleSessionServer(
  refuse: Refusal = ONE_SESSION.bad as Refusal,
): Promise<SingleSessionServer> {
  let session: string | undefined;
  const seen: string[] = [];
  const sessions: string[] = [];
  const repeatedIds: number[] = [];
  let ids = new Set<number>(); // bounded by: a test's requests
  const shown: { session: string | undefined; authorization: string | undefined }[] = [];
  const self = {
    initializeMs: 0,
    callMs: 0,
    fixedId: undefined as string | undefined,
    deleteStatus: undefined as number | undefined,
  };

  function resultOf({ method, params }: Message): object | undefined {
    if (method === 'initialize')
      return {
        protocolVersion: params?.protocolVersion,
        capabilities: { tools: {} },
        serverInfo: { name: 'single', version: '1' },
      };
    if (method === 'tools/list') return { tools: [{ name: 'echo', inputSchema: { type: 'object' } }] };
    if (method === 'tools/call') return { content: [{ type: 'text', text: 'called' }] };
    return method === 'ping' ? {} : undefined;
  }

  function answer(request: IncomingMessage, response: ServerResponse, message: Message): void {
    const given = request.headers['mcp-session-id'];
    if (message.method === 'initialize') {
      if (session !== undefined && self.fixedId === undefined) return refuse(response, message);
      session = self.fixedId ?? randomUUID();
      sessions.push(`open ${session}`);
      ids = new Set();
    } else if (given !== session || session === undefined) return void response.writeHead(404).end('no such session');
    if (message.id !== undefined && ids.has(message.id)) repeatedIds.push(message.id);
    if (message.id !== undefined) ids.add(message.id);
    if (message.id === undefined) return void response.writeHead(202).end();
    const result = resultOf(message);
    const own = session;
    const error = { code: -32601, message: 'not known' };
    const body = JSON.stringify({ jsonrpc: '2.0', id: message.id, ...(result ? { result } : { error }) });
    const send = (): void => {
      if (session !== own && message.method === 'tools/call') return void response.destroy();
      response.writeHead(200, { 'content-type': 'application/json', 'mcp-session-id': own }).end(body);
    };
    const waits: Readonly<Record<string, number>> = { initialize: self.initializeMs, 'tools/call': self.callMs };
    const ms = waits[message.method ?? ''] ?? 0;
    if (ms > 0) setTimeout(send, ms).unref();
    else send();
  }

  const server = createServer((request, response) => {
    response.on('error', () => {});
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const given = request.headers['mcp-session-id'] as string | undefined;
      shown.push({ session: given, authorization: request.headers.authorization });
      if (request.method === 'DELETE') {
        seen.push(`DELETE ${given}`);
        if (self.deleteStatus !== undefined) return void response.writeHead(self.deleteStatus).end();
        if (given === undefined || given !== session) return void response.writeHead(404).end();
        sessions.push(`end ${session}`);
        session = undefined;
        return void response.writeHead(200).end();
      }
      if (request.method !== 'POST') return void response.writeHead(405).end();
      const message = JSON.parse(Buffer.concat(chunks).toString('utf8')) as Message;
      seen.push(message.method ?? 'reply');
      answer(request, response, message);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return Object.defineProperty(
    Object.assign(self, {
      url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`,
      session: undefined,
      seen,
      sessions,
      repeatedIds,
      shown,
      restart() {
        session = undefined;
      },
      async [Symbol.asyncDispose]() {
        const closed = new Promise<void>((resolve) => server.close(() => resolve()));
        server.closeAllConnections();
        await closed;
      },
    }),
    'session',
    { get: () => session },
  );
}

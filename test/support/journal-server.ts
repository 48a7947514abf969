/**
 * A server on the official SDK that writes down what reaches it: `node journal-server.ts stdio|http`, with JOURNAL =
 * the file, PORT for http. Each line of the journal is `{ pid, from, method, … }`: a message received, or what became
 * of a piece of work.
 * Tools: work{name,ms,ask} (progress and a log line every 50 ms until it is done or called off, and one question where
 * `ask`), grow{name} (one more tool, told to every client), touch{uri} (told to its subscribers), say{level,text} (a
 * log line that belongs to no call), pid, crash.
 */
import { randomUUID } from 'node:crypto';
import { appendFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { Server } from '@modelcontextprotocol/sdk/server/index.js';
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import type { RequestHandlerExtra } from '@modelcontextprotocol/sdk/shared/protocol.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import {
  CallToolRequestSchema,
  ElicitResultSchema,
  ListResourcesRequestSchema,
  ListToolsRequestSchema,
  ReadResourceRequestSchema,
  type ServerNotification,
  type ServerRequest,
  SubscribeRequestSchema,
  UnsubscribeRequestSchema,
} from '@modelcontextprotocol/sdk/types.js';

type Extra = RequestHandlerExtra<ServerRequest, ServerNotification>;
type Arguments = Readonly<Record<string, unknown>>;

const STEP_MS = 50;
const journal = process.env.JOURNAL ?? '/dev/null';
const grown: string[] = [];
const clients = new Map<Server, Set<string>>();

function note(what: Record<string, unknown>): void {
  appendFileSync(journal, `${JSON.stringify({ pid: process.pid, ...what })}\n`);
}

function text(value: string) {
  return { content: [{ type: 'text' as const, text: value }] };
}

/** Everything about one piece of work goes along with the request that it belongs to. */
async function work(args: Arguments, extra: Extra) {
  const { name } = args;
  const until = performance.now() + Number(args.ms ?? 0);
  let step = 0;
  note({ work: name, state: 'began' });
  const asked = args.ask ? ask(String(name), extra) : undefined;
  while (performance.now() < until && !extra.signal.aborted) {
    step += 1;
    const token = extra._meta?.progressToken;
    if (token !== undefined)
      await extra.sendNotification({
        method: 'notifications/progress',
        params: { progressToken: token, progress: step, message: String(name) },
      });
    await extra.sendNotification({ method: 'notifications/message', params: { level: 'info', data: name } });
    await new Promise((done) => setTimeout(done, STEP_MS));
  }
  const answer = extra.signal.aborted ? undefined : await asked;
  note({ work: name, state: extra.signal.aborted ? 'called off' : 'done' });
  return text(JSON.stringify({ name, answer }));
}

async function ask(name: string, extra: Extra): Promise<unknown> {
  const requestedSchema = { type: 'object' as const, properties: { who: { type: 'string' as const } } };
  return extra.sendRequest(
    { method: 'elicitation/create', params: { message: name, requestedSchema } },
    ElicitResultSchema,
  );
}

async function call(name: string, args: Arguments, extra: Extra, server: Server) {
  if (name === 'work') return work(args, extra);
  if (name === 'pid') return text(String(process.pid));
  if (name === 'crash') process.exit(3);
  if (name === 'grow') {
    grown.push(String(args.name));
    for (const one of clients.keys()) await one.sendToolListChanged();
  } else if (name === 'touch') {
    const uri = String(args.uri);
    for (const [one, uris] of clients) if (uris.has(uri)) await one.sendResourceUpdated({ uri });
  } else if (name === 'say') {
    await server.notification({
      method: 'notifications/message',
      params: { level: String(args.level) as 'info', data: args.text },
    });
  }
  return text('done');
}

function tools() {
  const names = ['work', 'grow', 'touch', 'say', 'pid', 'crash', ...grown];
  return names.map((name) => ({ name, inputSchema: { type: 'object' as const } }));
}

function makeServer(): Server {
  const capabilities = {
    tools: { listChanged: true },
    resources: { subscribe: true },
    logging: {},
  };
  const server = new Server({ name: 'journal', version: '1.0.0' }, { capabilities });
  const uris = new Set<string>();
  clients.set(server, uris);
  server.setRequestHandler(ListToolsRequestSchema, () => ({ tools: tools() }));
  server.setRequestHandler(CallToolRequestSchema, ({ params }, extra) =>
    call(params.name, params.arguments ?? {}, extra, server),
  );
  server.setRequestHandler(ListResourcesRequestSchema, () => ({
    resources: ['one', 'two'].map((name) => ({ name, uri: `note://${name}` })),
  }));
  server.setRequestHandler(ReadResourceRequestSchema, ({ params }) => ({
    contents: [{ uri: params.uri, text: params.uri }],
  }));
  server.setRequestHandler(SubscribeRequestSchema, ({ params }) => {
    uris.add(params.uri);
    return {};
  });
  server.setRequestHandler(UnsubscribeRequestSchema, ({ params }) => {
    uris.delete(params.uri);
    return {};
  });
  server.onclose = () => clients.delete(server);
  return server;
}

/** Whatever comes in is noted before it is handled. */
async function connect(server: Server, transport: Transport): Promise<void> {
  await server.connect(transport);
  const handle = transport.onmessage;
  transport.onmessage = (message, extra) => {
    if ('method' in message) {
      const { method, params } = message;
      note({ from: transport.sessionId, method, ...('id' in message ? { id: message.id } : {}), params });
    }
    handle?.(message, extra);
  };
}

function listen(port: number): void {
  const sessions = new Map<string, StreamableHTTPServerTransport>();
  createServer(async (request, response) => {
    const known = sessions.get(String(request.headers['mcp-session-id']));
    if (known) return known.handleRequest(request, response);
    if (request.method !== 'POST' || request.headers['mcp-session-id'] !== undefined) {
      response.writeHead(request.headers['mcp-session-id'] === undefined ? 405 : 404).end();
      return;
    }
    const transport = new StreamableHTTPServerTransport({
      sessionIdGenerator: () => randomUUID(),
      onsessioninitialized: (id) => void sessions.set(id, transport),
      onsessionclosed: (id) => void sessions.delete(id),
    });
    // The SDK's own types disagree under exactOptionalPropertyTypes.
    await connect(makeServer(), transport as unknown as Transport);
    await transport.handleRequest(request, response);
  }).listen(port, '127.0.0.1');
}

if (process.argv[2] === 'http') listen(Number(process.env.PORT));
else await connect(makeServer(), new StdioServerTransport());

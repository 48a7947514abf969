/**
 * A server of the stateless era (2026-07-28) in plain node, strict about what the specification demands of a client:
 * what is missing or says something else than the body is refused, and noted in `complaints`. Over HTTP as a module,
 * over stdio as a program: `node test/support/modern-server.ts [dual]` (`dual` = it answers initialize too). Tools:
 * echo{text}, report{text, steps} (each step is progress that says the text), sleep{ms}, list (structured content that
 * is an array), ask (asks for roots and a name, then for a colour), grow (one tool more, with a notification to
 * listeners), touch{text} (the resource of that address has changed, with a notification to its listeners),
 * place{region, deep: {count}} (declares headers), move (place declares another header from now on, without a
 * notification), misplaced, whose declaration is against the rules, need (a client with a model), and busy (asks
 * nothing, but to be asked again).
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';

const VERSION = '2026-07-28';
const PREFIX = 'io.modelcontextprotocol/';

interface Message {
  readonly id?: number | string;
  readonly method: string;
  readonly params?: {
    readonly name?: string;
    readonly uri?: string;
    readonly requestId?: number | string;
    readonly arguments?: {
      readonly text?: string;
      readonly ms?: number;
      readonly steps?: number;
      readonly region?: string;
      readonly deep?: { readonly count?: number };
    };
    readonly _meta?: Record<string, unknown>;
    readonly notifications?: { readonly resourceSubscriptions?: readonly string[] };
    readonly requestState?: string;
    readonly inputResponses?: Record<
      string,
      { roots?: { uri: string }[]; content?: Record<string, string>; action?: string }
    >;
  };
}

interface World {
  readonly isDual: boolean;
  readonly complaints: string[];
  readonly methods: string[];
  extra: number;
  /** The header of place's region. */
  region: string;
  /** Whoever listens, and to what. */
  readonly ears: Map<(message: { readonly method: string; readonly params?: object }) => void, readonly string[]>;
  /** Requests that were closed before their answer. */
  closed: number;
  /** Requests that are not over, but for those that listen. */
  open: number;
}

type Answer =
  | { readonly result: object }
  | { readonly error: { readonly code: number; readonly message: string; readonly data?: object } };

function worldOf(isDual: boolean): World {
  return { isDual, complaints: [], methods: [], extra: 0, region: 'Region', ears: new Map(), closed: 0, open: 0 };
}

const TOOLS = ['echo', 'report', 'sleep', 'list', 'ask', 'grow', 'touch', 'place', 'move', 'misplaced', 'need', 'busy'];

function toolsOf({ extra, region }: World): object[] {
  const properties: Record<string, object> = {
    place: {
      region: { type: 'string', 'x-mcp-header': region },
      deep: { type: 'object', properties: { count: { type: 'integer', 'x-mcp-header': 'Count' } } },
    },
    misplaced: { many: { type: 'array', items: { type: 'string', 'x-mcp-header': 'Item' } } },
  };
  const names = [...TOOLS, ...Array.from({ length: extra }, (_, at) => `extra_${at}`)];
  return names.map((name) => ({
    name,
    description: name,
    inputSchema: { type: 'object', ...(properties[name] === undefined ? {} : { properties: properties[name] }) },
    ...(name === 'list' ? { outputSchema: { type: 'array', items: { type: 'number' } } } : {}),
  }));
}

function complete(result: object, isKept = false): Answer {
  return { result: { resultType: 'complete', ...(isKept ? { ttlMs: 60_000, cacheScope: 'public' } : {}), ...result } };
}

function text(words: string): Answer {
  return complete({ content: [{ type: 'text', text: words }] });
}

function wrong(world: World, what: string, code: number): Answer {
  world.complaints.push(what);
  return { error: { code, message: what } };
}

/** Undefined = the claim is as it should be. */
function judged(world: World, { method, params }: Message): Answer | undefined {
  const meta = params?._meta ?? {};
  // In the other era nothing is claimed.
  if (world.isDual && meta[`${PREFIX}protocolVersion`] === undefined) return undefined;
  if (method === 'initialize') return { error: { code: -32601, message: 'There is no initialize in this era.' } };
  if (meta[`${PREFIX}protocolVersion`] !== VERSION) return wrong(world, `${method} without its version`, -32602);
  if (typeof meta[`${PREFIX}clientCapabilities`] !== 'object')
    return wrong(world, `${method} without capabilities`, -32602);
  if (['ping', 'logging/setLevel', 'resources/subscribe'].includes(method))
    return wrong(world, `${method} is gone`, -32601);
  return undefined;
}

/** What belongs to a request and comes before its answer. */
type Aside = (notice: { readonly method: string; readonly params: object }) => void;

async function answer(world: World, message: Message, aside: Aside): Promise<Answer> {
  const bad = judged(world, message);
  if (bad) return bad;
  const { method, params } = message;
  if (method === 'initialize')
    return {
      result: {
        protocolVersion: '2025-11-25',
        capabilities: { tools: {} },
        serverInfo: { name: 'dual', version: '1' },
      },
    };
  if (method === 'server/discover')
    return complete(
      {
        supportedVersions: [VERSION],
        capabilities: { tools: { listChanged: true }, resources: { subscribe: true }, logging: {} },
        instructions: 'Be modern.',
        _meta: { [`${PREFIX}serverInfo`]: { name: 'modern', version: '7' } },
      },
      true,
    );
  if (method === 'tools/list') return complete({ tools: toolsOf(world) }, true);
  if (method === 'resources/list') return complete({ resources: [{ uri: 'x://1', name: 'one' }] }, true);
  if (method === 'resources/templates/list') return complete({ resourceTemplates: [] }, true);
  if (method === 'resources/read')
    return params?.uri === 'x://1'
      ? complete({ contents: [{ uri: 'x://1', text: 'one' }] }, true)
      : { error: { code: -32602, message: 'Resource not found' } };
  if (method !== 'tools/call') return { error: { code: -32601, message: `Unknown method: ${method}` } };
  const { name, arguments: args = {} } = params ?? {};
  if (name === 'echo') return text(String(args.text));
  if (name === 'report') {
    for (let progress = 1; progress <= (args.steps ?? 0); progress += 1)
      aside({
        method: 'notifications/progress',
        params: { progressToken: params?._meta?.progressToken, progress, message: args.text },
      });
    return text(String(args.text));
  }
  if (name === 'sleep') return new Promise((done) => setTimeout(() => done(text('slept')), args.ms ?? 0).unref());
  if (name === 'list') return complete({ content: [], structuredContent: [1, 2, 3] });
  if (name === 'ask') return ask(world, message);
  if (name === 'grow') {
    world.extra += 1;
    for (const tell of world.ears.keys()) tell({ method: 'notifications/tools/list_changed' });
    return text('grown');
  }
  if (name === 'touch') {
    const uri = String(args.text);
    for (const [tell, uris] of world.ears)
      if (uris.includes(uri)) tell({ method: 'notifications/resources/updated', params: { uri } });
    return text(JSON.stringify([...world.ears.values()].flat()));
  }
  if (name === 'need') return need(message);
  if (name === 'move') {
    world.region = 'Zone';
    return text('moved');
  }
  if (name === 'busy')
    return params?.requestState === undefined
      ? { result: { resultType: 'input_required', requestState: stateOf(message, 'later') } }
      : (reused(world, message) ?? text('done'));
  if (name === 'place' || name === 'misplaced') return text(JSON.stringify(args));
  return { error: { code: -32602, message: `Unknown tool: ${name}` } };
}

function need({ params }: Message): Answer {
  const can = params?._meta?.[`${PREFIX}clientCapabilities`] as { sampling?: object } | undefined;
  if (can?.sampling) return text('thought');
  const data = { requiredCapabilities: { sampling: {} } };
  return { error: { code: -32021, message: 'Nobody thinks here.', data } };
}

/** A state that remembers which request it is an answer to. */
function stateOf({ id }: Message, words: string): string {
  return `${id}|${words}`;
}

/** A retry is a request of its own, with an id of its own. */
function reused(world: World, { id, params }: Message): Answer | undefined {
  return params?.requestState?.startsWith(`${id}|`) ? wrong(world, `id ${id} again`, -32600) : undefined;
}

/** Two rounds, stateless: what is known so far travels in the state. */
function ask(world: World, message: Message): Answer {
  const { params } = message;
  const { inputResponses = {} } = params ?? {};
  const requestState = params?.requestState?.replace(/^\d+\|/, '');
  const can = params?._meta?.[`${PREFIX}clientCapabilities`] as Record<string, unknown>;
  if (!can.roots || !can.elicitation)
    return complete({ content: [{ type: 'text', text: 'Nobody can be asked.' }], isError: true });
  const asks = (inputRequests: object, state: string): Answer => ({
    result: { resultType: 'input_required', inputRequests, requestState: stateOf(message, state) },
  });
  const again = reused(world, message);
  if (again) return again;
  const elicit = (message: string, field: string) => ({
    method: 'elicitation/create',
    params: { mode: 'form', message, requestedSchema: { type: 'object', properties: { [field]: { type: 'string' } } } },
  });
  if (requestState === undefined)
    return asks({ where: { method: 'roots/list', params: {} }, who: elicit('Who?', 'name') }, 'first');
  if (requestState === 'first') {
    const { where, who } = inputResponses;
    const known = `${who?.content?.name ?? who?.action} at ${where?.roots?.map(({ uri }) => uri).join()}`;
    return asks({ colour: elicit('Which?', 'colour') }, `second:${known}`);
  }
  if (!requestState.startsWith('second:')) return wrong(world, `state ${requestState}`, -32602);
  const { colour } = inputResponses;
  return text(`${requestState.slice(7)} likes ${colour?.content?.colour ?? colour?.action}`);
}

/** Headers must say what the body says. */
function headerFault(world: World, { headers }: IncomingMessage, { method, params }: Message): string | undefined {
  if (/mcphub_/.test(String(headers.authorization))) return 'the key of a user';
  if (method === 'initialize') return undefined;
  if (headers['mcp-session-id'] !== undefined) return 'a session id';
  if (headers['mcp-protocol-version'] !== VERSION)
    return `${method}: version header ${headers['mcp-protocol-version']}`;
  if (headers['mcp-method'] !== method) return `${method}: method header ${headers['mcp-method']}`;
  const name = method === 'resources/read' ? params?.uri : params?.name;
  if (method === 'tools/call' && name === 'place') {
    const { region, deep } = params?.arguments ?? {};
    const wanted = region === undefined ? undefined : `=?base64?${Buffer.from(region).toString('base64')}?=`;
    const said = [headers[`mcp-param-${world.region.toLowerCase()}`], headers['mcp-param-count']].join();
    if (said !== [wanted, deep?.count].join()) return `${method}: parameter headers ${said}`;
  }
  return name !== undefined && headers['mcp-name'] !== name
    ? `${method}: name header ${headers['mcp-name']}`
    : undefined;
}

export interface ModernServer extends AsyncDisposable {
  readonly url: string;
  readonly complaints: readonly string[];
  readonly methods: readonly string[];
  readonly listening: () => number;
  readonly closed: () => number;
  readonly open: () => number;
}

export async function startModernServer(isDual = false): Promise<ModernServer> {
  const world = worldOf(isDual);
  const server = createServer((request, response) => {
    if (request.method !== 'POST') {
      if (!isDual) world.complaints.push(`HTTP ${request.method}`);
      response.writeHead(405).end();
      return;
    }
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => void serve(world, request, response, JSON.parse(Buffer.concat(chunks).toString('utf8'))));
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`,
    complaints: world.complaints,
    methods: world.methods,
    listening: () => world.ears.size,
    closed: () => world.closed,
    open: () => world.open,
    async [Symbol.asyncDispose]() {
      const closed = new Promise<void>((done) => server.close(() => done()));
      server.closeAllConnections();
      await closed;
    },
  };
}

async function serve(
  world: World,
  request: IncomingMessage,
  response: ServerResponse,
  message: Message,
): Promise<void> {
  world.methods.push(message.method);
  const isCounted = message.method !== 'subscriptions/listen';
  if (isCounted) world.open += 1;
  response.on('close', () => {
    if (isCounted) world.open -= 1;
    if (!response.writableFinished) world.closed += 1;
  });
  if (message.id === undefined) {
    if (!world.isDual) world.complaints.push(`a notification: ${message.method}`);
    response.writeHead(202).end();
    return;
  }
  const isOld = world.isDual && message.params?._meta?.[`${PREFIX}protocolVersion`] === undefined;
  const fault = isOld ? undefined : headerFault(world, request, message);
  const send = (status: number, said: object): void => {
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ jsonrpc: '2.0', id: message.id, ...said }));
  };
  // Who could not know of the move is not to blame.
  const isBlamed = world.region === 'Region' || !/parameter headers/.test(fault ?? '');
  if (fault !== undefined && !isBlamed) return send(400, { error: { code: -32020, message: fault } });
  if (fault !== undefined) return send(400, wrong(world, fault, -32020));
  const bad = judged(world, message);
  if (bad) return send(400, bad);
  if (message.method !== 'subscriptions/listen') {
    let isStream = false;
    const event = (frame: object): void => {
      if (!isStream) response.writeHead(200, { 'content-type': 'text/event-stream' });
      isStream = true;
      response.write(`data: ${JSON.stringify({ jsonrpc: '2.0', ...frame })}\n\n`);
    };
    const said = await answer(world, message, event);
    if (response.destroyed) return;
    if (isStream) {
      event({ id: message.id, ...said });
      response.end();
      return;
    }
    const status = 'error' in said ? ({ [-32601]: 404, [-32021]: 400 }[said.error.code] ?? 200) : 200;
    return send(status, said);
  }
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  listen(world, message, (said) => response.write(`data: ${JSON.stringify(said)}\n\n`), response);
}

function listen(
  world: World,
  { id, params }: Message,
  say: (message: object) => void,
  response?: ServerResponse,
): () => void {
  const tag = { _meta: { [`${PREFIX}subscriptionId`]: id } };
  const tell = ({ method, params: more }: { readonly method: string; readonly params?: object }): void =>
    say({ jsonrpc: '2.0', method, params: { ...more, ...tag } });
  say({
    ...{ jsonrpc: '2.0', method: 'notifications/subscriptions/acknowledged' },
    params: { ...tag, notifications: params?.notifications },
  });
  world.ears.set(tell, params?.notifications?.resourceSubscriptions ?? []);
  const end = (): void => void world.ears.delete(tell);
  response?.on('close', end);
  return end;
}

function serveStdio(): void {
  const world = worldOf(process.argv[2] === 'dual');
  const open = new Map<unknown, () => void>();
  const say = (message: object): void => void process.stdout.write(`${JSON.stringify(message)}\n`);
  createInterface({ input: process.stdin }).on('line', async (line) => {
    const message = JSON.parse(line) as Message;
    if (message.method === 'notifications/cancelled') open.get(message.params?.requestId)?.();
    if (message.id === undefined) return;
    if (message.method === 'subscriptions/listen') return void open.set(message.id, listen(world, message, say));
    const aside: Aside = (notice) => say({ jsonrpc: '2.0', ...notice });
    say({ jsonrpc: '2.0', id: message.id, ...(await answer(world, message, aside)) });
  });
}

if (process.argv[1] === import.meta.filename) serveStdio();

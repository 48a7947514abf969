/**
 * A small MCP client on plain fetch and raw sockets: what curl and an IDE send, without an SDK in between.
 */
export interface RpcAnswer {
  readonly status: number;
  readonly type: string;
  readonly session: string | null;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: answers are looked into by the tests
  readonly json: any;
  readonly ms: number;
}

export interface PostOptions {
  readonly key?: string | undefined;
  readonly session?: string | undefined;
  readonly accept?: string;
  readonly headers?: Record<string, string>;
  readonly timeoutMs?: number;
}

/** One POST; `body` is sent as it is when it is a string or bytes. */
export async function post(url: string, body: unknown, options: PostOptions = {}): Promise<RpcAnswer> {
  const born = performance.now();
  const headers: Record<string, string> = { 'content-type': 'application/json', ...options.headers };
  if (options.key) headers.authorization = `Bearer ${options.key}`;
  if (options.session) headers['mcp-session-id'] = options.session;
  if (options.accept) headers.accept = options.accept;
  const raw = typeof body === 'string' || body instanceof Uint8Array;
  const answer = await fetch(url, {
    method: 'POST',
    headers,
    body: raw ? (body as string) : JSON.stringify(body),
    signal: AbortSignal.timeout(options.timeoutMs ?? 30_000),
  });
  const text = await answer.text();
  return {
    status: answer.status,
    type: answer.headers.get('content-type') ?? '',
    session: answer.headers.get('mcp-session-id'),
    text,
    json: jsonFrom(text),
    ms: performance.now() - born,
  };
}

export function rpc(
  url: string,
  method: string,
  params: unknown,
  options: PostOptions & { id?: number | string } = {},
): Promise<RpcAnswer> {
  return post(url, { jsonrpc: '2.0', id: options.id ?? 1, method, params }, options);
}

export function callTool(
  url: string,
  name: string,
  args: unknown,
  options: PostOptions & { id?: number | string } = {},
): Promise<RpcAnswer> {
  return rpc(url, 'tools/call', { name, arguments: args }, options);
}

/** initialize + initialized; returns the session id. */
export async function openSession(url: string, key: string, client = 'test'): Promise<string> {
  const answer = await rpc(
    url,
    'initialize',
    { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: client, version: '1' } },
    { key },
  );
  if (answer.status !== 200 || !answer.session) throw new Error(`initialize: ${answer.status} ${answer.text}`);
  await post(url, { jsonrpc: '2.0', method: 'notifications/initialized' }, { key, session: answer.session });
  return answer.session;
}

function jsonFrom(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    const data = text.split('\n').filter((line) => line.startsWith('data:'));
    try {
      return JSON.parse((data.at(-1) ?? '').slice(5));
    } catch {
      return undefined;
    }
  }
}

/**
 * A server of the old HTTP+SSE transport made with the official SDK (v1): what such servers in the field are.
 * Tools: echo {text} · progress {steps} · add_tool {} (a tool more, with list_changed) · sleep {ms}.
 * Its stream is at any path, so that one without `/sse` can be had too; POSTs go to /messages.
 * Promises: `close` ends it with all its connections; the same port can be opened again.
 */
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { SSEServerTransport } from '@modelcontextprotocol/sdk/server/sse.js';
import { z } from 'zod';

export interface SdkSse extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  /** Of every request, in order. */
  readonly seen: { readonly method: string; readonly headers: IncomingHttpHeaders }[];
  /** Streams open now. */
  readonly streams: () => number;
  close(): Promise<void>;
}

export async function startSdkSse(
  options: { readonly port?: number; readonly extraTool?: boolean } = {},
): Promise<SdkSse> {
  const seen: { method: string; headers: IncomingHttpHeaders }[] = [];
  const sessions = new Map<string, SSEServerTransport>();
  const sockets = new Set<Socket>();
  const server = createServer(async (request, response) => {
    seen.push({ method: request.method ?? '', headers: request.headers });
    const url = new URL(request.url ?? '/', 'http://127.0.0.1');
    if (request.method === 'GET' && url.pathname !== '/messages') {
      const transport = new SSEServerTransport('/messages', response);
      sessions.set(transport.sessionId, transport);
      response.on('close', () => sessions.delete(transport.sessionId));
      await mcpServer(options.extraTool ?? false).connect(transport);
      return;
    }
    const transport = sessions.get(url.searchParams.get('sessionId') ?? '');
    if (request.method === 'POST' && url.pathname === '/messages' && transport)
      await transport.handlePostMessage(request, response).catch(() => {});
    else response.writeHead(request.method === 'POST' && url.pathname !== '/messages' ? 405 : 404).end();
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(options.port ?? 0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  let isClosed = false;
  const close = async (): Promise<void> => {
    if (isClosed) return;
    isClosed = true;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  return {
    url: `http://127.0.0.1:${port}/sse`,
    port,
    seen,
    streams: () => sessions.size,
    close,
    [Symbol.asyncDispose]: close,
  };
}

function mcpServer(hasExtra: boolean): McpServer {
  const server = new McpServer({ name: 'sdk-sse', version: '1.0.0' });
  const text = (value: string) => ({ content: [{ type: 'text' as const, text: value }] });
  server.registerTool('echo', { inputSchema: { text: z.string() } }, async (given) => text(given.text));
  server.registerTool('sleep', { inputSchema: { ms: z.number() } }, async ({ ms }) => {
    await new Promise<void>((resolve) => setTimeout(resolve, ms));
    return text('slept');
  });
  server.registerTool('progress', { inputSchema: { steps: z.number() } }, async ({ steps }, extra) => {
    const progressToken = extra._meta?.progressToken;
    for (let progress = 1; progress <= steps && progressToken !== undefined; progress += 1)
      await extra.sendNotification({ method: 'notifications/progress', params: { progressToken, progress } });
    return text('done');
  });
  server.registerTool('add_tool', {}, async () => {
    server.registerTool('added', {}, async () => text('added'));
    return text('ok');
  });
  if (hasExtra) server.registerTool('extra', {}, async () => text('extra'));
  return server;
}

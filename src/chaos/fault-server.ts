/**
 * An MCP server that fails on command; `mcphub chaos` adds it to the servers of a configuration. A separate program in
 * plain node: `node fault-server.ts stdio <way> <marker file>` or `node fault-server.ts http <way>`.
 * It has one tool, `work`, and works at first. HTTP: prints its port, fails from the first line on stdin on, and exits
 * when stdin closes. stdio: fails from the first call of `work` on.
 *
 *   http   hung (accepts, never answers) · slow (a call takes 3 s, probes are answered) · dead (exits)
 *          garbage (not JSON) · huge (300 MiB)
 *   stdio  well (works) · crash (exits; afterwards at every start) · deaf (stops reading)
 *          flood (writes to stderr as fast as it is read)
 */
import { existsSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createInterface } from 'node:readline';

interface Message {
  readonly id?: number | string;
  readonly method?: string;
  readonly params?: { readonly protocolVersion?: string };
}

const SLOW_MS = 3000;
const HUGE_CHUNKS = 300;
const CHUNK = 'x'.repeat(2 ** 20);
const FLOOD = `${'e'.repeat(1023)}\n`.repeat(64);
const BODY_CHARS = 2 ** 20;

function resultOf({ method, params }: Message): object | undefined {
  if (method === 'initialize') {
    const protocolVersion = params?.protocolVersion ?? '2025-06-18';
    return { protocolVersion, capabilities: { tools: {} }, serverInfo: { name: 'chaos', version: '1.0.0' } };
  }
  const tool = { name: 'work', description: 'answers', inputSchema: { type: 'object' } };
  if (method === 'tools/list') return { tools: [tool] };
  if (method === 'tools/call') return { content: [{ type: 'text', text: 'done' }] };
  return method === 'ping' ? {} : undefined;
}

function answerTo(message: Message): string {
  const result = resultOf(message);
  const error = { code: -32601, message: 'Method not found' };
  return JSON.stringify({ jsonrpc: '2.0', id: message.id, ...(result ? { result } : { error }) });
}

function messageFrom(text: string): Message {
  try {
    return JSON.parse(text) as Message;
  } catch {
    return {};
  }
}

function serveStdio(way: string, marker: string): void {
  if (way === 'crash' && existsSync(marker)) process.exit(1);
  const lines = createInterface({ input: process.stdin });
  lines.on('close', () => process.exit(0));
  lines.on('line', (line) => {
    const message = messageFrom(line);
    const isCall = message.method === 'tools/call';
    if (isCall && way === 'crash') {
      writeFileSync(marker, '');
      process.exit(1);
    }
    if (isCall && way === 'deaf') return void process.stdin.pause();
    if (isCall && way === 'flood') flood();
    if (message.id !== undefined) process.stdout.write(`${answerTo(message)}\n`);
  });
  // The process lives but does not read.
  setInterval(() => {}, 60_000);
}

/** Writes until the pipe is full, and continues when it is read. */
function flood(): void {
  if (process.stderr.writableNeedDrain) return;
  const more = (): void => {
    if (process.stderr.write(FLOOD)) setTimeout(more, 1);
    else process.stderr.once('drain', more);
  };
  more();
}

function serveHttp(way: string): void {
  let isIll = false;
  const server = createServer((request, response) => {
    if (request.method !== 'POST') return void response.writeHead(405).end();
    void bodyOf(request).then((text) => answerHttp(messageFrom(text), response, isIll ? way : 'well'));
  });
  server.listen(0, '127.0.0.1', () => {
    const address = server.address();
    process.stdout.write(`${typeof address === 'object' ? address?.port : ''}\n`);
  });
  const orders = createInterface({ input: process.stdin });
  orders.on('line', () => {
    if (way === 'dead') process.exit(0);
    isIll = true;
  });
  orders.on('close', () => process.exit(0));
}

function answerHttp(message: Message, response: ServerResponse, way: string): void {
  const isCall = message.method === 'tools/call';
  if (way === 'hung') return;
  if (message.id === undefined) return void response.writeHead(202).end();
  response.writeHead(200, { 'content-type': 'application/json' });
  if (way === 'garbage') return void response.end(`<<<${'\u0000\u0007garbage '.repeat(1000)}`);
  if (way === 'huge' && isCall) return sendHuge(message, response);
  if (way === 'slow' && isCall) return void setTimeout(() => response.end(answerTo(message)), SLOW_MS);
  response.end(answerTo(message));
}

/** Writes as fast as the reader takes it, at most one chunk ahead. */
function sendHuge({ id }: Message, response: ServerResponse): void {
  let left = HUGE_CHUNKS;
  response.write(`{"jsonrpc":"2.0","id":${JSON.stringify(id)},"result":{"content":[{"type":"text","text":"`);
  const more = (): void => {
    while (left > 0 && !response.destroyed) {
      left -= 1;
      if (!response.write(CHUNK)) return void response.once('drain', more);
    }
    if (!response.destroyed) response.end('"}]}}');
  };
  more();
}

function bodyOf(request: IncomingMessage): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    request.setEncoding('utf8');
    request.on('data', (chunk: string) => {
      if (text.length < BODY_CHARS) text += chunk;
    });
    request.on('error', () => resolve(''));
    request.on('end', () => resolve(text));
  });
}

const [kind, way = 'well', marker = ''] = process.argv.slice(2);
process.on('SIGTERM', () => process.exit(0));
// The reader may close the stream.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => process.exit(0));
if (kind === 'http') serveHttp(way);
else serveStdio(way, marker);

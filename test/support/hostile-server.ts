/**
 * An MCP server that answers what a test tells it to, byte by byte. Over HTTP and HTTP+SSE as a module, over stdio as a program:
 * `node test/support/hostile-server.ts <2025|2026> [tools in bytes]`.
 * Tools: `odd {bytes}`: the base64 bytes are the reply, in which @ID@ stands for the id of the request; `well`: an ordinary answer.
 */
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';

export type Era = '2025' | '2026';
export type Wire = 'http' | 'http-sse' | 'sse';

interface Message {
  readonly id?: number;
  readonly method: string;
  readonly params?: { readonly name?: string; readonly arguments?: { readonly bytes?: string } };
}

/** What a terminal must not obey: a title, a colour (also in one C1 byte), a cursor move, turned text. */
export const OBEYED = '\u001b]0;owned\u0007 \u001b[31mred \u009b2J \u202eturned';
const TOOLS = ['odd', 'well'].map((name) => ({ name, description: OBEYED, inputSchema: { type: 'object' } }));
const SERVER = { name: 'hostile', version: '1' };

/** The bytes of the reply; undefined = there is none. */
export function answerTo(message: Message, era: Era): Buffer | undefined {
  const { id, method, params } = message;
  if (id === undefined) return undefined;
  if (method === 'tools/call' && params?.name === 'odd') {
    const bytes = Buffer.from(params.arguments?.bytes ?? '', 'base64').toString('latin1');
    return Buffer.from(bytes.replaceAll('@ID@', String(id)), 'latin1');
  }
  const kind = era === '2026' ? { resultType: 'complete' } : {};
  const reply = (rest: object) => Buffer.from(JSON.stringify({ jsonrpc: '2.0', id, ...rest }));
  if (method === 'initialize') {
    if (era === '2026') return reply({ error: { code: -32601, message: 'There is no initialize in this era.' } });
    return reply({ result: { protocolVersion: '2025-06-18', capabilities: { tools: {} }, serverInfo: SERVER } });
  }
  if (method === 'server/discover')
    return reply({ result: { ...kind, supportedVersions: ['2026-07-28'], capabilities: { tools: {} } } });
  if (method === 'tools/list') return reply({ result: { ...kind, tools: TOOLS } });
  return reply({ result: method === 'tools/call' ? { ...kind, content: [{ type: 'text', text: 'well' }] } : kind });
}

export interface HostileServer extends AsyncDisposable {
  readonly url: string;
}

export async function startHostileServer(wire: Wire, era: Era): Promise<HostileServer> {
  let stream: ServerResponse | undefined;
  const server = createServer((request, response) => {
    if (request.method !== 'POST') {
      if (wire !== 'sse') return void response.writeHead(405).end();
      stream = response.writeHead(200, { 'content-type': 'text/event-stream' });
      stream.write('event: endpoint\ndata: /post\n\n');
      return;
    }
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const answer = answerTo(JSON.parse(Buffer.concat(chunks).toString('utf8')) as Message, era);
      if (answer === undefined || wire === 'sse') response.writeHead(202).end();
      if (answer === undefined) return;
      if (wire === 'sse') stream?.write(eventOf(answer));
      else if (wire === 'http') response.writeHead(200, { 'content-type': 'application/json' }).end(answer);
      // Left open: the answer is over, the stream is not.
      else response.writeHead(200, { 'content-type': 'text/event-stream' }).write(eventOf(answer));
    });
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    async [Symbol.asyncDispose]() {
      const closed = new Promise<void>((done) => server.close(() => done()));
      server.closeAllConnections();
      await closed;
    },
  };
}

function eventOf(answer: Buffer): Buffer {
  return Buffer.concat([Buffer.from('data: '), answer, Buffer.from('\n\n')]);
}

if (import.meta.main) {
  const era = process.argv[2] === '2026' ? '2026' : '2025';
  for await (const line of createInterface({ input: process.stdin })) {
    const answer = answerTo(JSON.parse(line) as Message, era);
    if (answer !== undefined) process.stdout.write(Buffer.concat([answer, Buffer.from('\n')]));
  }
}

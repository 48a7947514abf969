/**
 * An MCP server that answers what a test tells it to, byte by byte. Over HTTP and HTTP+SSE as a module, over all wires
 * as a program: `node test/support/hostile-server.ts <2025|2026> [http | http-sse | sse]` (a program that serves HTTP
 * prints its URL). Tools: `odd {bytes, waitMs}`: the base64 bytes are the reply, in which @ID@ stands for the id of the
 * request; `well`: an ordinary answer; `flood {bytes or file, times, to}`: the bytes (of the file) so many times in one
 * write before an ordinary answer, as messages or to stderr; `list {size, renames}`: lists of tools have so many bytes
 * from now on, and other names each time; `keep {bytes}`: the reply to resources/read and prompts/get; `rows {bytes}`:
 * more rows of tools/list, and list_changed; `heard`: the bytes of the request, in base64; `raw {file}`: what the file
 * holds goes onto the wire as it is, with the number of the request for each @ID@, before an ordinary answer (over HTTP
 * without events in its place).
 */
import { readFileSync } from 'node:fs';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';

export type Era = '2025' | '2026';
export type Wire = 'http' | 'http-sse' | 'sse';

interface Message {
  readonly id?: number;
  readonly method: string;
  readonly params?: {
    readonly name?: string;
    readonly arguments?: {
      readonly bytes?: string;
      readonly file?: string;
      readonly times?: number;
      readonly to?: string;
      readonly size?: number;
      readonly renames?: boolean;
      readonly waitMs?: number;
    };
  };
}

/** What a terminal must not obey: a title, a colour (also in one C1 byte), a cursor move, turned text. */
export const OBEYED = '\u001b]0;owned\u0007 \u001b[31mred \u009b2J \u202eturned';
const TOOLS = ['odd', 'well', 'flood', 'list', 'keep', 'rows', 'heard', 'raw'].map((name) => ({
  name,
  description: OBEYED,
  inputSchema: { type: 'object' },
}));
const SERVER = { name: 'hostile', version: '1' };

const CHANGED = Buffer.from('{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}');
const CAPABILITIES = { tools: {}, resources: {}, prompts: {} };

let listBytes = 0;
let renames = false;
let listings = 0;
let kept: string | undefined;
let rows: Buffer | undefined;

/** As many tools as fill `listBytes`, with another text each time. */
function toolsNow(): object[] {
  const description = `${process.hrtime.bigint()} ${'long '.repeat(100)}`;
  const size = description.length + 60;
  if (renames) listings += 1;
  const prefix = renames ? `tool_${listings}` : 'tool';
  const more = Array.from({ length: Math.floor(listBytes / size) }, (_, at) => ({
    ...{ name: `${prefix}_${at}`, description, inputSchema: { type: 'object' } },
  }));
  return [...TOOLS, ...more];
}

/** What comes before the reply. */
function floodOf({ id, params }: Message): Buffer[] {
  const { bytes = '', file, times = 0 } = params?.name === 'flood' ? (params.arguments ?? {}) : {};
  const raw = file === undefined ? Buffer.from(bytes, 'base64') : readFileSync(file);
  const one = raw.toString('latin1').replaceAll('@ID@', String(id));
  return Array<Buffer>(times).fill(Buffer.from(one, 'latin1'));
}

/**
 * What `raw` writes; undefined = something else is called. The number of the request takes as many bytes as its mark.
 */
function rawOf({ id, params }: Message): Buffer | undefined {
  if (params?.name !== 'raw') return undefined;
  const bytes = readFileSync(params.arguments?.file ?? '');
  const number = Buffer.from(String(id).padStart(MARK.length));
  for (let at = bytes.indexOf(MARK); at >= 0; at = bytes.indexOf(MARK, at)) number.copy(bytes, at);
  return bytes;
}

const MARK = '@ID@';

/** The base64 bytes with the id of the request in them. */
function withId(base64: string, id: number): Buffer {
  const bytes = Buffer.from(base64, 'base64').toString('latin1');
  return Buffer.from(bytes.replaceAll('@ID@', String(id)), 'latin1');
}

/** The bytes of the reply; undefined = there is none. */
export function answerTo(message: Message, era: Era, raw: Buffer = Buffer.alloc(0)): Buffer | undefined {
  const { id, method, params } = message;
  if (id === undefined) return undefined;
  const { bytes = '' } = params?.arguments ?? {};
  if (method === 'tools/call' && params?.name === 'odd') return withId(bytes, id);
  if (params?.name === 'list') {
    listBytes = params.arguments?.size ?? 0;
    renames = params.arguments?.renames === true;
  }
  if (params?.name === 'keep') kept = bytes;
  if (params?.name === 'rows') rows = Buffer.from(bytes, 'base64');
  if (kept !== undefined && (method === 'resources/read' || method === 'prompts/get')) return withId(kept, id);
  const kind = era === '2026' ? { resultType: 'complete' } : {};
  const reply = (rest: object) => Buffer.from(JSON.stringify({ jsonrpc: '2.0', id, ...rest }));
  if (method === 'initialize') {
    if (era === '2026') return reply({ error: { code: -32601, message: 'There is no initialize in this era.' } });
    return reply({ result: { protocolVersion: '2025-06-18', capabilities: CAPABILITIES, serverInfo: SERVER } });
  }
  if (method === 'server/discover')
    return reply({ result: { ...kind, supportedVersions: ['2026-07-28'], capabilities: CAPABILITIES } });
  if (method === 'tools/list') return withRows(reply({ result: { ...kind, tools: toolsNow() } }));
  if (method === 'resources/list')
    return reply({ result: { ...kind, resources: [{ uri: 'test://kept', name: 'kept' }] } });
  if (method === 'resources/templates/list') return reply({ result: { ...kind, resourceTemplates: [] } });
  if (method === 'prompts/list') return reply({ result: { ...kind, prompts: [{ name: 'kept' }] } });
  if (params?.name === 'heard')
    return reply({ result: { ...kind, content: [{ type: 'text', text: raw.toString('base64') }] } });
  return reply({ result: method === 'tools/call' ? { ...kind, content: [{ type: 'text', text: 'well' }] } : kind });
}

/** The list of tools with the rows that a test has given, which may be no JSON. */
function withRows(list: Buffer): Buffer {
  if (rows === undefined) return list;
  const end = list.lastIndexOf(']');
  return Buffer.concat([list.subarray(0, end), Buffer.from(','), rows, list.subarray(end)]);
}

function waitOf({ params }: Message): number {
  return params?.arguments?.waitMs ?? 0;
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
      const body = Buffer.concat(chunks);
      const message = JSON.parse(body.toString('utf8')) as Message;
      const answer = answerTo(message, era, body);
      const flood = Buffer.concat(floodOf(message).map(eventOf));
      if (answer === undefined || wire === 'sse') response.writeHead(202).end();
      if (answer === undefined) return;
      const write = () => {
        const raw = rawOf(message);
        const events = Buffer.concat([raw ?? flood, eventOf(answer)]);
        if (wire === 'sse') stream?.write(events);
        else if (wire === 'http') response.writeHead(200, { 'content-type': 'application/json' }).end(raw ?? answer);
        // Left open: the answer is over, the stream is not.
        else response.writeHead(200, { 'content-type': 'text/event-stream' }).write(events);
      };
      if (waitOf(message) === 0) write();
      else setTimeout(write, waitOf(message));
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

function lineOf(message: Buffer): Buffer {
  return Buffer.concat([message, Buffer.from('\n')]);
}

async function serveStdio(era: Era): Promise<void> {
  for await (const line of createInterface({ input: process.stdin })) {
    const message = JSON.parse(line) as Message;
    const answer = answerTo(message, era, Buffer.from(line));
    const flood = Buffer.concat(floodOf(message).map(lineOf));
    if (message.params?.arguments?.to === 'stderr') process.stderr.write(flood);
    else if (flood.length > 0) process.stdout.write(flood);
    const raw = rawOf(message);
    if (raw) process.stdout.write(raw);
    if (answer === undefined) continue;
    if (message.params?.name === 'rows') process.stdout.write(lineOf(CHANGED));
    if (waitOf(message) === 0) process.stdout.write(lineOf(answer));
    else setTimeout(() => process.stdout.write(lineOf(answer)), waitOf(message));
  }
}

if (import.meta.main) {
  const era = process.argv[2] === '2026' ? '2026' : '2025';
  const wire = process.argv[3];
  if (wire === 'http' || wire === 'http-sse' || wire === 'sse')
    process.stdout.write(`${(await startHostileServer(wire, era)).url}\n`);
  else await serveStdio(era);
}

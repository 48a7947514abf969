/**
 * MCP servers whose answers have unusual forms, on every wire. A form makes the text of an answer from a good one. Over
 * HTTP as a module: one listener serves every wire and form; over stdio as a program:
 * `node test/support/form-server.ts <where> <form>`.
 * `where` = which answer has the form: `call` (the tool of that name gives it), `list` (tools/list) or `initialize`.
 */
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';
import { ANSWER_FORMS, type AnswerForm, type GoodAnswer, type Written } from './answer-forms.ts';

export type FormWire = 'stdio' | 'json' | 'events' | 'sse';
export type FormPlace = 'call' | 'list' | 'initialize';
export const FORM_WIRES: readonly FormWire[] = ['stdio', 'json', 'events', 'sse'];

const PLACES: Readonly<Record<string, FormPlace>> = {
  'tools/call': 'call',
  'tools/list': 'list',
  initialize: 'initialize',
};
const WELL: AnswerForm = ({ text }) => text;
const TOOLS = ['well', 'echo', ...Object.keys(ANSWER_FORMS)].map((name) => ({ name, inputSchema: { type: 'object' } }));

interface Question {
  readonly id?: number;
  readonly method: string;
  readonly params?: { readonly name?: string; readonly arguments?: unknown };
}

function resultOf({ method, params }: Question): object {
  if (method === 'initialize')
    return { protocolVersion: '2025-06-18', capabilities: { tools: {} }, serverInfo: { name: 'form', version: '1' } };
  if (method === 'tools/list') return { tools: TOOLS };
  if (method !== 'tools/call') return {};
  const text = params?.name === 'echo' ? JSON.stringify(params.arguments) : 'well';
  return { content: [{ type: 'text', text }] };
}

/** What is written in answer to a question; undefined = nothing. */
function written(question: Question, where: FormPlace, form: string): Written | undefined {
  const { id, method, params } = question;
  if (id === undefined) return undefined;
  const place = PLACES[method];
  const name = place === 'call' ? (params?.name ?? '') : form;
  const make = place === where ? (ANSWER_FORMS[name] ?? WELL) : WELL;
  const result = JSON.stringify(resultOf(question));
  const good: GoodAnswer = { id, result, text: `{"jsonrpc":"2.0","id":${id},"result":${result}}` };
  return make(good);
}

function eventOf(text: string): string {
  return `${text
    .split('\n')
    .map((line) => `data: ${line}`)
    .join('\n')}\n\n`;
}

export interface FormServers extends AsyncDisposable {
  url(wire: FormWire, where: FormPlace, form: string): string;
}

/** Starts the listener of the three HTTP wires. */
export async function startFormServers(): Promise<FormServers> {
  const streams = new Map<string, ServerResponse>();
  const server = createServer((request, response) => {
    const [, wire = '', where = 'call', form = '', stream = ''] = (request.url ?? '').split('/');
    if (request.method !== 'POST') {
      if (wire !== 'sse') return void response.writeHead(405).end();
      const id = String(streams.size + 1);
      streams.set(id, response.writeHead(200, { 'content-type': 'text/event-stream' }));
      return void response.write(`event: endpoint\ndata: /sse/${where}/${form}/${id}\n\n`);
    }
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const answer = written(JSON.parse(Buffer.concat(chunks).toString('utf8')), where as FormPlace, form);
      if (answer === undefined || wire === 'sse') response.writeHead(202).end();
      if (answer === undefined) return;
      const made = typeof answer === 'string' ? { raw: wire === 'json' ? answer : eventOf(answer) } : answer;
      const out = wire === 'sse' ? streams.get(stream) : response;
      if (wire !== 'sse') {
        const type = made.type ?? (wire === 'json' ? 'application/json' : 'text/event-stream');
        response.writeHead(made.status ?? 200, type === '' ? {} : { 'content-type': type });
      }
      out?.write(made.raw);
      if (made.later !== undefined) setTimeout(() => out?.write(made.later), 20);
      // An event stream is left open: the hub has to see in the answer that it is over.
      const isEvents = wire !== 'json' || made.raw.toString().includes('data: ');
      if (!isEvents || made.status !== undefined) response.end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url: (wire, where, form) => `${origin}/${wire}/${where}/${form}`,
    async [Symbol.asyncDispose]() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
  };
}

/** Returns the server of a configuration. */
export function formServer(servers: FormServers, wire: FormWire, where: FormPlace, form: string): object {
  if (wire === 'stdio') return { command: process.execPath, args: [import.meta.filename, where, form] };
  return { url: servers.url(wire, where, form), type: wire === 'sse' ? 'sse' : 'streamable-http' };
}

async function serveStdio(where: FormPlace, form: string): Promise<void> {
  for await (const line of createInterface({ input: process.stdin })) {
    const answer = written(JSON.parse(line) as Question, where, form);
    if (answer !== undefined) process.stdout.write(typeof answer === 'string' ? `${answer}\n` : answer.raw);
  }
}

if (import.meta.main) await serveStdio((process.argv[2] ?? 'call') as FormPlace, process.argv[3] ?? '');

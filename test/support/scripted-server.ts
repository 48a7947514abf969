/**
 * An MCP server whose answers are texts: for each method the JSON of its result, or a whole message with `$ID` in the
 * place of the id. It writes down what it was sent. As a module it listens on HTTP; as a program it speaks over stdin
 * and stdout: `node test/support/scripted-server.ts '{"ping":"[]"}'`.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pathToFileURL } from 'node:url';

/**
 * By method, or by method and cursor (`tools/list?two`): JSON text of the result, or of the whole message when it has
 * `$ID`; `HTTP 500` = that status without a message (on stdio, and with 0: no answer).
 */
export type Script = Readonly<Record<string, string>>;

export interface ScriptedServer extends AsyncDisposable {
  readonly url: string;
  /** Bodies of the requests, by method, as they came. */
  readonly seen: Map<string, string[]>;
  /** What it answers from now on. */
  script: Script;
}

const STANDARD: Script = {
  initialize:
    '{"protocolVersion":"2025-11-25","capabilities":{"tools":{},"prompts":{},"resources":{"subscribe":true},"completions":{},"logging":{}},"serverInfo":{"name":"scripted","version":"1"}}',
  ping: '{}',
  'tools/list': '{"tools":[{"name":"echo","inputSchema":{"type":"object"}}]}',
  'prompts/list': '{"prompts":[{"name":"greet"}]}',
  'resources/list': '{"resources":[{"uri":"case://one","name":"one"}]}',
  'resources/templates/list': '{"resourceTemplates":[{"uriTemplate":"case://{id}","name":"any"}]}',
  'tools/call': '{"content":[{"type":"text","text":"called"}]}',
  'prompts/get': '{"messages":[]}',
  'resources/read': '{"contents":[]}',
  'resources/subscribe': '{}',
  'resources/unsubscribe': '{}',
  'completion/complete': '{"completion":{"values":[]}}',
  'logging/setLevel': '{}',
};

/** Undefined = it is a notification or a reply. */
function answerTo(text: string, script: Script, seen: Map<string, string[]>): string | undefined {
  const { id, method, params } = JSON.parse(text) as { id?: unknown; method?: string; params?: { cursor?: string } };
  if (method === undefined) return undefined;
  seen.set(method, [...(seen.get(method) ?? []), text]);
  if (id === undefined) return undefined;
  const idRaw = JSON.stringify(id);
  const written = script[`${method}?${params?.cursor}`] ?? script[method] ?? STANDARD[method];
  if (written === undefined)
    return `{"jsonrpc":"2.0","id":${idRaw},"error":{"code":-32601,"message":"Method not found"}}`;
  if (written.startsWith('HTTP ')) return written;
  return written.includes('$ID')
    ? written.replace('$ID', idRaw)
    : `{"jsonrpc":"2.0","id":${idRaw},"result":${written}}`;
}

export async function startScriptedServer(script: Script = {}): Promise<ScriptedServer> {
  const seen = new Map<string, string[]>();
  const self = { script };
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      if (request.method !== 'POST') return void response.writeHead(405).end();
      const answer = answerTo(Buffer.concat(chunks).toString('utf8'), self.script, seen);
      const status = answer?.startsWith('HTTP ') ? Number(answer.slice(5)) : undefined;
      if (status === 0) return;
      if (status !== undefined) response.writeHead(status, { 'content-type': 'text/plain' }).end('no list here');
      else if (answer === undefined) response.writeHead(202).end();
      else response.writeHead(200, { 'content-type': 'application/json' }).end(answer);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return Object.assign(self, {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`,
    seen,
    async [Symbol.asyncDispose]() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
  });
}

/** The same as a server of a configuration, over stdin and stdout. */
export function scriptedProgram(script: Script): object {
  return { command: process.execPath, args: [import.meta.filename, JSON.stringify(script)] };
}

function serveStdio(script: Script): void {
  const seen = new Map<string, string[]>();
  let rest = '';
  process.stdin.on('data', (chunk: Buffer) => {
    const lines = (rest + chunk.toString('utf8')).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const answer = line.trim() === '' ? undefined : answerTo(line, script, seen);
      if (answer !== undefined && !answer.startsWith('HTTP ')) process.stdout.write(`${answer}\n`);
    }
  });
  process.stdin.on('end', () => process.exit(0));
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href)
  serveStdio(JSON.parse(process.argv[2] ?? '{}') as Script);

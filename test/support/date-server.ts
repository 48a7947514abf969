/**
 * A stdio server that exits when it is offered a protocol date that it does not know. Run as a program:
 * `node date-server.ts <file> <words> <date>…`: the dates that it was offered are appended to the file, and the words
 * are written to stderr before it exits.
 */
import { appendFileSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

const PROGRAM = import.meta.filename;

/** Configuration of such a server. */
export function dateServer(file: string, words: string, ...dates: readonly string[]): object {
  return { command: process.execPath, args: [PROGRAM, file, words, ...dates] };
}

/** The dates that it was offered, oldest first. */
export function offeredDates(file: string): readonly string[] {
  try {
    return readFileSync(file, 'utf8').trim().split('\n');
  } catch {
    return [];
  }
}

interface Message {
  readonly id?: number;
  readonly method?: string;
  readonly params?: { readonly protocolVersion?: string };
}

function serve([file = '', words = '', ...dates]: readonly string[]): void {
  createInterface({ input: process.stdin }).on('line', (line) => {
    const { id, method, params } = JSON.parse(line) as Message;
    const date = params?.protocolVersion ?? '';
    if (method === 'initialize') appendFileSync(file, `${date}\n`);
    if (method === 'initialize' && !dates.includes(date)) {
      process.stderr.write(`${words}\n`);
      process.exit(3);
    }
    if (id === undefined) return;
    const results: Readonly<Record<string, object>> = {
      initialize: {
        protocolVersion: date,
        capabilities: { tools: {} },
        serverInfo: { name: 'dated', version: dates.join() },
      },
      'tools/list': { tools: [{ name: 'echo', inputSchema: { type: 'object' } }] },
      'tools/call': { content: [{ type: 'text', text: 'called' }] },
      ping: {},
    };
    const result = results[method ?? ''];
    const error = { code: -32601, message: 'not known' };
    process.stdout.write(`${JSON.stringify({ jsonrpc: '2.0', id, ...(result ? { result } : { error }) })}\n`);
  });
}

if (process.argv[1] === PROGRAM) serve(process.argv.slice(2));

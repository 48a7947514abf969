/**
 * A small MCP server over stdin and stdout, in plain node and without an SDK, that misbehaves in one chosen way. Run it
 * with node; the first argument names the way, the second (where given) is a number. It answers initialize, ping,
 * tools/list and tools/call, anything else with "Method not found".
 *
 *   normal               tools echo{text}, add{a,b}, sleep{ms}, big{bytes}, env, crash{code}, log{bytes} (to stderr),
 *                        stuck (never answers), pid, report{text,steps,ms,late,fails} (each step is a progress and a
 *                        log line that carry the text, `late` more progress follow the answer; the answer is its own
 *                        arguments as the bytes that came, for which they must stand last; or an error, `fails`)
 *   silent               reads and never answers
 *   never-reads-stdin    answers nothing because it reads nothing
 *   closes-stdin         closes its stdin after the initialize answer and lives on
 *   stderr-flood [n]     as normal, and writes n bytes (default 1 KiB) to stderr for every request
 *   stderr-endless       as normal, and writes to stderr as fast as it is read
 *   garbage [n]          as normal, with n bytes (default 10 MB) of lines that are no JSON before every answer
 *   bigline [n]          as normal, but every tools/call result is one line of n bytes (default 9,000,000)
 *   endless-line [zero]  after initialize writes bytes without a line end, for ever (`zero`: NUL bytes, otherwise open
 *                        JSON)
 *   notifications [n]    as normal, and before every tools/call answer n notifications (default 100,000)
 *   dup-response         answers every tools/call twice
 *   wrong-id             answers tools/call with an id nobody asked with, then with the right one
 *   busy [ms]            tools/call burns CPU for ms (default 8,000) without a word, then answers
 *   slow-init [ms]       answers initialize after ms (default 3,000)
 *   crashloop [code]     exits at once (default 1)
 *   grandchild           as normal; tool crash leaves a detached sleeper behind that holds the pipes
 *   setsid               as normal; has made a child in a session of its own whose parent is gone (double fork)
 *   family               as normal; has a child in its own group that ignores SIGTERM
 *   ignores-sigterm      as normal; does not end at the end of its input nor at SIGTERM
 *   updates [n]          as normal, and has a resource, fault://clock; a subscriber is notified ten times a second
 *                        that it has changed, with n bytes (default 0) beside the time (`_meta.sentMs`, ms since 1970)
 *   bad-tools            tools/list with an array as outputSchema, an inputSchema without type, a 10 MiB description,
 *                        dotted names
 *
 * Every answer to tools/call of `pid` is the process id; a sleeper's id is in the answer to the tool `family`.
 */
import { spawn } from 'node:child_process';
import { appendFileSync, closeSync, writeSync } from 'node:fs';

interface Request {
  readonly id?: number | string;
  readonly method: string;
  readonly params?: {
    readonly name?: string;
    readonly arguments?: Record<string, unknown>;
    readonly protocolVersion?: string;
    readonly _meta?: { readonly progressToken?: number | string };
  };
}

const [mode = 'normal', extra = ''] = process.argv.slice(2);
const size = (standard: number): number => (extra === '' ? standard : Number(extra));
/** Where the `text` of each call that is carried out is written down. */
const LEDGER = process.env.FAULT_LEDGER;
const SLEEPER = 'setTimeout(() => {}, 600000)';
let sleeper: number | undefined;

function send(message: unknown): void {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

function answer(id: number | string | undefined, result: unknown): void {
  send({ jsonrpc: '2.0', id, result });
}

function text(value: string): unknown {
  return { content: [{ type: 'text', text: value }] };
}

function tool(name: string, properties: Record<string, unknown> = {}): unknown {
  return { name, description: `fault tool ${name}`, inputSchema: { type: 'object', properties } };
}

function tools(): unknown[] {
  if (mode === 'bad-tools') return badTools();
  return [
    tool('echo', { text: { type: 'string' } }),
    tool('add', { a: { type: 'number' }, b: { type: 'number' } }),
    tool('sleep', { ms: { type: 'number' } }),
    tool('big', { bytes: { type: 'number' } }),
    tool('log', { bytes: { type: 'number' } }),
    tool('crash', { code: { type: 'number' } }),
    tool('report', {
      text: { type: 'string' },
      steps: { type: 'number' },
      ms: { type: 'number' },
      late: { type: 'number' },
    }),
    ...['env', 'stuck', 'pid', 'family'].map((name) => tool(name)),
  ];
}

function badTools(): unknown[] {
  return [
    { name: 'array.output', inputSchema: { type: 'object' }, outputSchema: [{ type: 'object' }] },
    { name: 'no-type', description: 'no type', inputSchema: { properties: { a: {} } } },
    { name: 'long', description: 'x'.repeat(10 * 1024 * 1024), inputSchema: { type: 'object' } },
    { name: 'a.dotted.name', inputSchema: { type: 'object' } },
    { name: 'ümlaut und Leerzeichen', inputSchema: { type: 'object' } },
    { name: 'good', description: 'good', inputSchema: { type: 'object' } },
  ];
}

function burn(ms: number): void {
  const endMs = Date.now() + ms;
  while (Date.now() < endMs);
}

function garbage(bytes: number): string {
  const line = `~~ \u001b[31mbanner\u001b[0m ${Math.random()} no json ${'x'.repeat(60)}\n`;
  return line.repeat(Math.ceil(bytes / line.length));
}

function call(id: Request['id'], name: string, args: Record<string, unknown>): void {
  if (LEDGER !== undefined && typeof args.text === 'string') appendFileSync(LEDGER, `${args.text}\n`);
  if (mode === 'busy') burn(size(8000));
  if (mode === 'notifications') {
    const line = '{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x"}}\n';
    process.stdout.write(line.repeat(size(100_000)));
  }
  if (mode === 'garbage') process.stdout.write(garbage(size(10_000_000)));
  if (mode === 'wrong-id') answer(987_654_321, text('nobody asked'));
  if (mode === 'bigline') return answer(id, text('x'.repeat(size(9_000_000))));
  run(id, name, args);
}

function run(id: Request['id'], name: string, args: Record<string, unknown>): void {
  const number = (key: string): number => Number(args[key] ?? 0);
  const reply = (value: string): void => {
    answer(id, text(value));
    if (mode === 'dup-response') answer(id, text(value));
  };
  switch (name) {
    case 'echo':
      return reply(String(args.text ?? ''));
    case 'add':
      return reply(String(number('a') + number('b')));
    case 'sleep':
      setTimeout(() => reply(`slept ${number('ms')}`), number('ms'));
      return;
    case 'big':
      return reply('x'.repeat(number('bytes')));
    case 'log':
      process.stderr.write(`${'e'.repeat(number('bytes'))}\n`);
      return reply('logged');
    case 'env':
      return reply(JSON.stringify(process.env));
    case 'pid':
      return reply(String(process.pid));
    case 'family':
      return reply(String(sleeper ?? ''));
    case 'stuck':
      return;
    case 'crash':
      writeSync(2, 'crashing as asked\n');
      process.exit(args.code === undefined ? 7 : number('code'));
      return;
    default:
      send({ jsonrpc: '2.0', id, error: { code: -32602, message: `Unknown tool: ${name}` } });
  }
}

/** What belongs to one caller and must reach no other: progress, log lines, and an answer with every byte that came. */
function report({ id, params = {} }: Request, line: string): void {
  const given = params.arguments ?? {};
  const [steps = 0, ms = 0, late = 0] = [given.steps, given.ms, given.late].map((value) => Number(value ?? 0));
  const progressToken = params._meta?.progressToken;
  const say = (progress: number): void => {
    const params = { progressToken, progress, total: steps, message: given.text };
    if (progressToken !== undefined) send({ jsonrpc: '2.0', method: 'notifications/progress', params });
    send({ jsonrpc: '2.0', method: 'notifications/message', params: { level: 'warning', data: given.text } });
  };
  let step = 0;
  const next = (): void => {
    step += 1;
    if (step <= steps) {
      say(step);
      if (ms === 0) setImmediate(next);
      else setTimeout(next, ms);
      return;
    }
    if (given.fails === true) send({ jsonrpc: '2.0', id, error: { code: -32050, message: 'failed as asked' } });
    else answer(id, text(line.slice(line.indexOf('"arguments":') + '"arguments":'.length, -'}}'.length)));
    for (let more = step; more < step + late; more += 1) say(more);
  };
  next();
}

function initialize(request: Request): void {
  const result = {
    protocolVersion: request.params?.protocolVersion ?? '2025-11-25',
    capabilities: { tools: { listChanged: true }, ...(mode === 'updates' ? { resources: { subscribe: true } } : {}) },
    serverInfo: { name: `fault-${mode}`, version: '1.0.0' },
    instructions: `fault server: ${mode}`,
  };
  if (mode === 'slow-init') setTimeout(() => answer(request.id, result), size(3000));
  else answer(request.id, result);
  if (mode === 'closes-stdin') {
    process.stdin.destroy();
    closeSync(0);
    setInterval(() => {}, 1000);
  }
  if (mode === 'endless-line') setImmediate(endless);
}

function endless(): void {
  const chunk = extra === 'zero' ? Buffer.alloc(65_536) : Buffer.from('{"jsonrpc":"2.0","x":"'.padEnd(65_536, 'a'));
  const more = (): void => {
    process.stdout.write(chunk, more);
  };
  more();
}

let ticking: NodeJS.Timeout | undefined;

/** The resource of `updates`; false = this is none of its methods. */
function clock({ id, method }: Request): boolean {
  const uri = 'fault://clock';
  if (method === 'resources/list') answer(id, { resources: [{ uri, name: 'clock' }] });
  else if (method === 'resources/subscribe') {
    const pad = 'x'.repeat(size(0));
    if (ticking === undefined)
      ticking = setInterval(() => {
        const params = { uri, _meta: { sentMs: Date.now(), pad } };
        send({ jsonrpc: '2.0', method: 'notifications/resources/updated', params });
      }, 100);
    answer(id, {});
  } else return false;
  return true;
}

function handle(line: string): void {
  if (line.trim() === '') return;
  const request = JSON.parse(line) as Request;
  if (mode === 'silent') return;
  if (mode === 'stderr-flood') process.stderr.write(`${'e'.repeat(size(1024) - 1)}\n`);
  if (request.method === 'initialize') initialize(request);
  else if (request.method === 'tools/list') answer(request.id, { tools: tools() });
  else if (request.method === 'tools/call' && request.params?.name === 'report') report(request, line);
  else if (request.method === 'tools/call')
    call(request.id, request.params?.name ?? '', request.params?.arguments ?? {});
  else if (request.method === 'ping') answer(request.id, {});
  else if (mode === 'updates' && clock(request)) return;
  else if (request.id !== undefined) {
    send({ jsonrpc: '2.0', id: request.id, error: { code: -32601, message: `Method not found: ${request.method}` } });
  }
}

/** A process that sleeps; `detached` = a session of its own. It inherits the pipes. */
function sleep(detached: boolean, script = SLEEPER): number | undefined {
  const child = spawn(process.execPath, ['-e', script], { detached, stdio: 'inherit' });
  child.unref();
  return child.pid;
}

function prepare(): void {
  if (mode === 'crashloop') {
    writeSync(2, 'cannot start: missing setting\n');
    process.exit(size(1));
  }
  if (mode === 'grandchild') sleeper = sleep(true);
  if (mode === 'family') sleeper = sleep(false, `process.on('SIGTERM', () => {}); ${SLEEPER}`);
  if (mode === 'setsid') {
    // The middle process ends at once, so that the sleeper has neither our group nor our parentage.
    const inner = `require('child_process').spawn(process.execPath, ['-e', '${SLEEPER}'], { detached: true, stdio: 'ignore' }).unref()`;
    sleep(true, inner);
  }
  if (mode === 'ignores-sigterm') {
    process.on('SIGTERM', () => process.stderr.write('SIGTERM? no.\n'));
    setInterval(() => {}, 1000);
  }
  if (mode === 'never-reads-stdin') setInterval(() => {}, 1000);
  if (mode === 'stderr-endless') {
    const more = (): void => {
      process.stderr.write('e'.repeat(1023).concat('\n').repeat(64), more);
    };
    more();
  }
}

prepare();
if (mode !== 'never-reads-stdin') {
  let rest = '';
  // Not node's readline, which also ends a line at U+2028.
  process.stdin.setEncoding('utf8');
  process.stdin.on('data', (chunk: string) => {
    const lines = chunk.split('\n');
    lines[0] = rest + lines[0];
    rest = lines.pop() ?? '';
    for (const line of lines) handle(line);
  });
  // Also what holds the loop open ends with the input, unless that is the fault itself.
  process.stdin.on('end', () => {
    if (!['ignores-sigterm', 'closes-stdin'].includes(mode)) process.exit(0);
  });
}

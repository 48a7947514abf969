/**
 * A client that sends what is made to hurt, and calls servers that answer in kind once a second, in a process of its
 * own so that who measures is not slowed by it.
 * Usage: node attacker.ts <port> <key> <small|large> <requests per second> [tool …]; ends with its input. Prints what
 * it was answered, by status, when it ends.
 * Promises: at most so many at once that a slow hub slows it.
 */
import { Agent, request } from 'node:http';
import { setPriority } from 'node:os';
import { Client } from './load.ts';

const [port = '', key = '', size = 'small', perSecond = '100', ...tools] = process.argv.slice(2);
const EVIL_EVERY_MS = 1000;
// Who attacks has a machine of their own; here they take what the others leave.
setPriority(19);
const LARGE_BYTES = 4_000_000;
const AT_ONCE = 40;
const agent = new Agent({ keepAlive: true, maxSockets: AT_ONCE });

function call(args: string, more = ''): string {
  return `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"target_add","arguments":${args}}${more}}`;
}

function filled(piece: (at: number) => string, bytes: number): string {
  const pieces: string[] = [];
  for (let length = 0, at = 0; length < bytes; at += 1) {
    const one = piece(at);
    pieces.push(one);
    length += one.length + 1;
  }
  return pieces.join(',');
}

const SMALL = (): string[] => [
  call('[[[[[[[[[[[[[[[[[[[[[[[['),
  call(`{"a":${'['.repeat(5000)}`),
  call('{"a":1,"a":2}', ',"method":"tools/list"'),
  call('{"__proto__":{"x":1}}'),
  call(`{"a":${'9'.repeat(5000)}}`),
  call(`{"a":"${'\\u0041'.repeat(2000)}"}`),
  '{"jsonrpc":"2.0","id":{"a":1},"method":"tools/call"}',
  '{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":"AAAA"}}',
  `[${Array.from({ length: 100 }, () => '{"jsonrpc":"2.0","id":1,"method":"ping"}').join(',')}]`,
  '\ufeff{}',
  '',
];

const LARGE = (): string[] => [
  '['.repeat(LARGE_BYTES),
  call(`{${filled((at) => `"k${at}":${at}`, LARGE_BYTES)}}`),
  call(`[${filled((at) => `[${at}]`, LARGE_BYTES)}]`),
  call(`{"a":"${'\\u0041'.repeat(LARGE_BYTES / 6)}"}`),
  call(`{"a":${'1'.repeat(LARGE_BYTES)}}`),
  call(`{"a":"${'x'.repeat(LARGE_BYTES)}`),
  `{"jsonrpc":"2.0","id":1,"method":"${'m'.repeat(LARGE_BYTES)}"}`,
  call('{}', `,"_meta":{${filled((at) => `"m${at}":{}`, LARGE_BYTES)}}`),
];

const BODIES = (size === 'large' ? LARGE() : SMALL()).map((text) => Buffer.from(text));

const HEADERS: readonly Record<string, string>[] = [
  {},
  { accept: 'a/b;q=0.1,'.repeat(900) },
  { 'mcp-session-id': 'A'.repeat(500) },
  { 'mcp-protocol-version': '9'.repeat(5000) },
  { cookie: 'a=b; '.repeat(2000) },
];

const answered: Record<string, number> = {};
let inFlight = 0;
let sent = 0;

function send(): void {
  if (inFlight >= AT_ONCE) return;
  inFlight += 1;
  sent += 1;
  const body = BODIES[sent % BODIES.length] ?? Buffer.alloc(0);
  const headers = {
    ...HEADERS[sent % HEADERS.length],
    authorization: `Bearer ${key}`,
    'content-type': 'application/json',
    'content-length': body.length,
  };
  const asked = request({ host: '127.0.0.1', port, path: '/mcp', method: 'POST', agent, headers }, (answer) => {
    answered[String(answer.statusCode)] = (answered[String(answer.statusCode)] ?? 0) + 1;
    answer.resume();
  });
  asked.on('error', () => {
    answered.fault = (answered.fault ?? 0) + 1;
  });
  asked.on('close', () => {
    inFlight -= 1;
  });
  asked.end(body);
}

setInterval(send, 1000 / Number(perSecond));
const callers = tools.map((tool) => ({ tool, client: new Client({ port: Number(port), key }) }));
function callTools(): void {
  for (const { tool, client } of callers) void client.call(tool, { text: 'x' });
}

callTools();
setInterval(callTools, EVIL_EVERY_MS);
console.log('attacking');
process.stdin.resume().on('end', () => {
  console.log(JSON.stringify(answered));
  process.exit(0);
});

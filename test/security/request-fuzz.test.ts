/**
 * Mutated requests of every route, era and caller, each on a connection of its own: every one is answered or closed, no
 * process ends, nothing is kept, and another client is served on time.
 */
// runs: alone
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { test } from 'node:test';
import type { KeyMade } from '../../src/admin/contract.ts';
import { leftIn, sizesOf } from '../support/containers.ts';
import { changedProcesses, startHub } from '../support/hub.ts';
import { openSession } from '../support/mcp.ts';
import { measured, scaled } from '../support/measured.ts';
import { mutated, randomFrom } from '../support/mutation.ts';
import { askOperator } from '../support/operator.ts';
import { faultServer } from '../support/real-servers.ts';
import { startStallWatch } from '../support/stall-watch.ts';
import { TurnRecorder } from '../support/turn-recorder.ts';
import { isUnharmed } from '../support/unharmed.ts';

const COUNT = scaled({ ci: 10_000, long: 200_000 });
const SEED = Number(process.env.MCPHUB_SEED ?? 20_261_129);
const AT_ONCE = 48;
const WORKERS = 2;
/** A request may be a half by its mutation: its client then ends its side, and the hub must end the connection. */
const HALF_MS = 300;
const SILENT_MS = 12_000;

const META =
  '"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"f","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}';
const BODIES: readonly string[] = [
  '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"fault_echo","arguments":{"text":"x"},"_meta":{"progressToken":"t"}}}',
  '{"jsonrpc":"2.0","id":"a","method":"tools/list","params":{"cursor":"AA"}}',
  '{"jsonrpc":"2.0","id":2,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{"elicitation":{}},"clientInfo":{"name":"f","version":"1"}}}',
  '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1,"reason":"r"}}',
  '{"jsonrpc":"2.0","id":"mcphub-1-1","result":{"action":"accept","content":{}}}',
  '[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":2,"method":"prompts/list"}]',
  '{"jsonrpc":"2.0","id":3,"method":"logging/setLevel","params":{"level":"debug"}}',
  '{"jsonrpc":"2.0","id":4,"method":"resources/subscribe","params":{"uri":"test://a"}}',
  `{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"fault_add","arguments":{"a":1,"b":2},${META}}}`,
  `{"jsonrpc":"2.0","id":6,"method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true},${META}}}`,
  `{"jsonrpc":"2.0","id":7,"method":"server/discover","params":{${META}}}`,
];

const PIECES: readonly string[] = [
  ...[
    '\r\n',
    '\n',
    '\r',
    '\0',
    ' ',
    '\t',
    ':',
    ',',
    ';',
    '{',
    '}',
    '[',
    ']',
    '"',
    '\\',
    '\\u0000',
    '\\ud800',
    'null',
    '1e999',
    '-0',
  ],
  ...[
    '\x80',
    '\xff',
    '\xc3\xa9',
    '%00',
    '%2e%2e',
    '..',
    '//',
    '?',
    '#',
    '@',
    '__proto__',
    '"id":1,',
    '"method":"ping",',
    '"params":null,',
  ],
  ...[
    'Content-Length: 5\r\n',
    'Content-Length: 0\r\n',
    'Transfer-Encoding: chunked\r\n',
    'Transfer-Encoding: gzip\r\n',
    'Expect: 100-continue\r\n',
  ],
  ...[
    'Connection: upgrade\r\nUpgrade: websocket\r\n',
    'Connection: close, x-mcphub-role\r\n',
    'x-mcphub-role: owner\r\n',
    'x-mcphub-worker: 0\r\n',
  ],
  ...[
    'Mcp-Session-Id: x\r\n',
    'Last-Event-ID: 1-1-1\r\n',
    'MCP-Protocol-Version: 2026-07-28\r\n',
    'Mcp-Method: ping\r\n',
    'Origin: null\r\n',
  ],
  ...[
    '0\r\n\r\n',
    '5\r\nhello\r\n',
    'ffffffff\r\n',
    'HTTP/1.0',
    'HTTP/2.0',
    'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
    'GET / HTTP/1.1\r\nHost: x\r\n\r\n',
  ],
];

interface Caller {
  readonly key: string | undefined;
  readonly session: string | undefined;
}

function requests({ key, session }: Caller): string[] {
  const fields = [
    'Host: 127.0.0.1',
    ...(key ? [`Authorization: Bearer ${key}`] : []),
    ...(session ? [`Mcp-Session-Id: ${session}`] : []),
  ];
  const head = (line: string, ...more: string[]): string =>
    `${[`${line} HTTP/1.1`, ...fields, ...more].join('\r\n')}\r\n\r\n`;
  const get = [
    '/',
    '/health',
    '/readyz',
    '/mcp',
    '/mcp/fault',
    '/sse',
    '/api/health',
    '/api/waits',
    '/api/keys',
    '/none',
  ];
  return [
    ...get.map((path) => head(`GET ${path}`, 'Accept: text/event-stream, application/json')),
    head('DELETE /mcp'),
    head('OPTIONS /mcp', 'Origin: http://localhost:3000', 'Access-Control-Request-Method: POST'),
    ...BODIES.flatMap((body) => [
      head(
        'POST /mcp',
        'Content-Type: application/json',
        'Accept: application/json, text/event-stream',
        `Content-Length: ${body.length}`,
      ) + body,
      `${head('POST /mcp/fault', 'Content-Type: application/json', 'Transfer-Encoding: chunked')}${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`,
    ]),
    `${head('POST /messages?sessionId=1-AAAAAAAAAAAAAAAAAAAAAA', 'Content-Type: application/json', 'Content-Length: 2')}{}`,
  ];
}

type Ending = 'answered' | 'closed' | 'silent';

function exchange(port: number, bytes: Buffer): Promise<Ending> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    const half = setTimeout(() => socket.end(), HALF_MS);
    const limit = setTimeout(() => finish('silent'), SILENT_MS);
    function finish(ending: Ending): void {
      clearTimeout(half);
      clearTimeout(limit);
      socket.destroy();
      resolve(ending);
    }
    socket.on('error', () => {});
    socket.on('data', () => finish('answered'));
    socket.on('end', () => finish('closed'));
    socket.on('close', () => finish('closed'));
    socket.write(bytes);
  });
}

test(`answers or closes each of ${COUNT} mutated requests, and is as it was afterwards`, {
  timeout: 1_800_000,
}, async (t) => {
  using turns = new TurnRecorder();
  await using hub = await startHub({
    config: { mcpServers: { fault: faultServer('normal') } },
    args: ['--workers', String(WORKERS)],
    // Requests are refused for what they are, not for their number.
    env: {
      ...turns.env,
      MCPHUB_REPLAY_MS: '5000',
      MCPHUB_ADDRESS_PER_SECOND: '100000',
      MCPHUB_FAILED_KEYS_PER_MINUTE: '10000',
    },
  });
  const member = (await askOperator<KeyMade>(hub, 'POST', '/api/keys', { user: 'm', name: 'm' })).secret;
  const session = await openSession(`${hub.url}/mcp`, member);
  const callers: readonly Caller[] = [
    { key: undefined, session: undefined },
    { key: member, session: undefined },
    { key: member, session },
  ];
  const seeds = callers.flatMap(requests);
  const random = randomFrom(SEED);
  const before = hub.processes();
  const sizes = await sizesOf(hub, WORKERS);
  turns.begin();
  const watch = startStallWatch({ url: hub.url, pids: before.hub ?? [] });
  const counts: Record<Ending, number> = { answered: 0, closed: 0, silent: 0 };
  const silent: string[] = [];
  let left = COUNT;
  async function work(): Promise<void> {
    while (left > 0) {
      left -= 1;
      const text = mutated(random.pick(seeds), PIECES, random, 8192);
      const ending = await exchange(hub.port, Buffer.from(text, 'latin1'));
      counts[ending] += 1;
      if (ending === 'silent' && silent.length < 5) silent.push(JSON.stringify(text));
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  const stalls = await watch.stop();
  t.diagnostic(`${JSON.stringify(counts)}; /health: ${JSON.stringify(stalls)}`);
  if (silent.length > 0) t.diagnostic(`seed ${SEED}, silent:\n${silent.join('\n')}`);
  assert.ok(counts.answered > COUNT / 2, 'most are answered');
  await isUnharmed(hub, 'fault_echo');
  const kept = await leftIn(hub, sizes, WORKERS);
  if (kept.length > 0) t.diagnostic(kept.join('\n'));
  const after = `${COUNT} mutated requests`;
  const none = { unit: '', strict: 0 };
  measured(
    { promise: 'P3', what: `unanswered, of ${after}`, value: counts.silent, ...none },
    {
      promise: 'P11',
      what: `processes that ended or were replaced, ${after}`,
      value: changedProcesses(before, hub),
      ...none,
    },
    { promise: 'P11', what: `failed questions of another client beside ${after}`, value: stalls.failed, ...none },
    { promise: 'P12', what: `containers not as empty as before, after ${after}`, value: kept.length, ...none },
    {
      ...{ promise: 'P11', what: `longest turn of a worker's loop, ${after}`, value: turns.longestMs() },
      ...{ unit: 'ms CPU', strict: 100, ci: 220 },
    },
  );
});

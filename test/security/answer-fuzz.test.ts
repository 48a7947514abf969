/**
 * Mutated replies, notifications and questions of servers in both eras, over stdio, JSON, event streams and HTTP+SSE:
 * every call ends, a client that checks each byte finds nothing invalid (in a session, without one, through the
 * bridge), no process ends, nothing is kept, and a healthy server and another client are served on time.
 */
// case: CL30
// runs: alone
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { leftIn, sizesOf } from '../support/containers.ts';
import { type Era, startHostileServer, type Wire } from '../support/hostile-server.ts';
import { changedProcesses, startHub, until } from '../support/hub.ts';
import { measured, scaled } from '../support/measured.ts';
import { mutated, type Random, randomFrom } from '../support/mutation.ts';
import { faultServer } from '../support/real-servers.ts';
import { startStallWatch } from '../support/stall-watch.ts';
import { type Caller, StrictBridge, StrictClient } from '../support/strict-client.ts';
import { TurnRecorder } from '../support/turn-recorder.ts';
import { isUnharmed } from '../support/unharmed.ts';

/** Messages of servers; two for each call. */
const COUNT = scaled({ ci: 20_000, long: 100_000 });
const SEED = Number(process.env.MCPHUB_SEED ?? 20_261_129);
const AT_ONCE = 48;
/** An answer with a changed id matches no call: its call ends by the strict cut of its server. */
const CUT_MS = 200;
const HEALTHY_EVERY_MS = 50;
/** Of the healthy server, median: it answers in a few ms, and the machine is busy with all the rest. */
const HEALTHY_MS = 100;
const SCRIPT = new URL('../support/hostile-server.ts', import.meta.url).pathname;
const SERVERS: readonly (readonly [era: Era, wire: Wire | 'stdio'])[] = [
  ['2025', 'stdio'],
  ['2026', 'stdio'],
  ['2025', 'http'],
  ['2026', 'http'],
  ['2025', 'http-sse'],
  ['2026', 'http-sse'],
  ['2025', 'sse'],
];

/** Replies; @TEXT@ stands within a string. */
const SEEDS: readonly string[] = [
  '{"jsonrpc":"2.0","id":@ID@,"result":{"content":[{"type":"text","text":"caf\xc3\xa9 \\u00e9 @TEXT@"}],"isError":false}}',
  '{"jsonrpc":"2.0","id":@ID@,"result":{"resultType":"complete","content":[],"structuredContent":{"@TEXT@":[1,2.5e3,null,true]}}}',
  '{"jsonrpc":"2.0","id":@ID@,"result":{"resultType":"input_required","inputRequests":{"a":{"method":"elicitation/create","params":{"message":"@TEXT@","requestedSchema":{"type":"object","properties":{}}}}},"requestState":"s"}}',
  '{"jsonrpc":"2.0","id":@ID@,"error":{"code":-32602,"message":"@TEXT@","data":{"a":1}}}',
  '{"jsonrpc":"2.0","id":@ID@,"result":{"content":[{"type":"resource_link","uri":"test://@TEXT@","name":"a"}],"_meta":{"k":{}}}}',
  '[{"jsonrpc":"2.0","id":@ID@,"result":{"content":[{"type":"text","text":"one of a batch @TEXT@"}]}}]',
  `{"jsonrpc":"2.0","id":@ID@,"result":{"content":[{"type":"text","text":"${'long \\n '.repeat(200)}@TEXT@${' long'.repeat(200)}"}]}}`,
];

/** Sent before an ordinary answer. */
const EVENTS: readonly string[] = [
  '{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","logger":"l","data":"@TEXT@"}}',
  '{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":@ID@,"progress":1,"total":2,"message":"@TEXT@"}}',
  '{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{"_meta":{"@TEXT@":1}}}',
  '{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"test://@TEXT@"}}',
  '{"jsonrpc":"2.0","id":"q@TEXT@","method":"sampling/createMessage","params":{"messages":[],"maxTokens":1}}',
  '{"jsonrpc":"2.0","id":7,"method":"ping"}',
];

const PIECES: readonly string[] = [
  ...[
    '{',
    '}',
    '[',
    ']',
    '"',
    ',',
    ':',
    '\\',
    '\\u',
    '\\u0000',
    '\\ud800',
    '\\uDC00',
    '\xc7\xd1',
    '\xed\xa0\xbd',
    '\xc0\xaf',
    '\r',
    '\\x',
    '\0',
    '\n',
    '\t',
    '\x7f',
    '\xff',
    '\xc3',
    '\xe2\x80\xa8',
    '\x1b[31m',
  ],
  ...[
    'null',
    'true',
    'NaN',
    '1e999',
    '-',
    '0x1',
    '"id":1,',
    '"id":@ID@,',
    '"result":{},',
    '"error":null,',
    '"error":{"code":"E"},',
    '"resultType":1,',
    '"resultTyp\\u0065":"complete",',
  ],
  ...[
    '"__proto__":{},',
    '"jsonrpc":"1.0",',
    '"method":"ping",',
    '"inputRequests":null,',
    '"params":5,',
    '[[[[[[[[',
    '{"a":'.repeat(40),
    ' '.repeat(200),
  ],
];

/** One half is changed anywhere, the other within its strings only, so that its reader gets as far as them. */
function spoilt(seed: string, random: Random): string {
  return random.below(2) === 0
    ? mutated(seed.replace('@TEXT@', 'text'), PIECES, random)
    : seed.replace('@TEXT@', () => mutated('caf\xc3\xa9 text', PIECES, random));
}

interface Counts {
  results: number;
  errors: number;
  circuit: number;
  notifications: number;
}

/** Calls `name` in all of these ways, one after the other. */
async function callersOf(hub: { port: number; key: string; dataDir: string }): Promise<Caller[]> {
  const sessions = await Promise.all(Array.from({ length: AT_ONCE / 2 }, () => new StrictClient(hub).open()));
  const alone = Array.from({ length: AT_ONCE / 2 - 2 }, () => new StrictClient(hub));
  const bridges = await Promise.all([1, 2].map(() => new StrictBridge(hub.dataDir).open()));
  return [...sessions, ...alone, ...bridges];
}

test(`passes on nothing invalid of ${COUNT} mutated messages of servers, and is as it was afterwards`, {
  timeout: 1_800_000,
}, async (t) => {
  await using servers = new AsyncDisposableStack();
  const mcpServers: Record<string, object> = { healthy: faultServer('normal') };
  const names: string[] = [];
  for (const [era, wire] of SERVERS) {
    const name = `${wire.replace('-', '')}${era}`;
    names.push(name);
    if (wire === 'stdio') {
      mcpServers[name] = { command: process.execPath, args: [SCRIPT, era], callTimeoutMs: CUT_MS };
      continue;
    }
    const server = await startHostileServer(wire, era);
    servers.use(server);
    mcpServers[name] = { url: server.url, type: wire === 'sse' ? 'sse' : 'streamable-http', callTimeoutMs: CUT_MS };
  }
  // The circuit stays closed, so that every answer is looked at; an ordinary call after each keeps failures below a
  // half.
  using turns = new TurnRecorder();
  await using hub = await startHub({
    config: { mcpServers },
    env: { ...turns.env, MCPHUB_REPLAY_MS: '5000', MCPHUB_BREAKER_FAILURES: '1000', MCPHUB_SERVER_CONNECTIONS: '1000' },
  });
  let calls = 0;
  const call = (caller: Caller, name: string, args: object = {}) => {
    calls += 1;
    const params = { name, arguments: args, _meta: { progressToken: `t${calls}` } };
    return caller.ask({ jsonrpc: '2.0', id: calls, method: 'tools/call', params });
  };
  const isWell = async (name: string, args: object = {}): Promise<boolean> => {
    const client = new StrictClient(hub);
    const { reply } = await call(client, name, args);
    client.close();
    return reply?.result !== undefined && reply.result.isError !== true;
  };
  for (const name of names) await until(() => isWell(`${name}_well`), 20_000, name);
  await until(() => isWell('healthy_echo', { text: 'x' }), 20_000, 'the healthy server');
  const random = randomFrom(SEED);
  const before = hub.processes();
  const sizes = await sizesOf(hub);
  turns.begin();
  const watch = startStallWatch({ url: hub.url, pids: before.hub ?? [] });
  const counts: Counts = { results: 0, errors: 0, circuit: 0, notifications: 0 };
  const wrong: string[] = [];
  let left = COUNT / 2;
  async function look(caller: Caller, name: string, text: string, times: number): Promise<void> {
    const bytes = Buffer.from(text, 'latin1').toString('base64');
    try {
      const { reply, before: events } = await call(caller, name, { bytes, times });
      counts.notifications += events.length;
      if (reply?.error?.data?.code === 'breaker-open') counts.circuit += 1;
      else if (reply?.error) counts.errors += 1;
      else if (reply?.result) counts.results += 1;
      else throw new Error('no reply');
    } catch (fault) {
      if (wrong.length < 5)
        wrong.push(`${name} ${JSON.stringify(text.slice(0, 600))}\n  ${String(fault).slice(0, 600)}`);
    }
  }
  async function work(caller: Caller): Promise<void> {
    while (left > 0) {
      left -= 1;
      const name = random.pick(names);
      await look(caller, `${name}_odd`, spoilt(random.pick(SEEDS), random), 0);
      await look(caller, `${name}_flood`, spoilt(random.pick(EVENTS), random), 1);
      await call(caller, `${name}_well`).catch((fault: unknown) => wrong.length < 5 && wrong.push(String(fault)));
    }
    caller.close();
  }
  const healthy = { failed: [] as string[], ms: [] as number[], isOver: false };
  async function useHealthy(): Promise<void> {
    const client = await new StrictClient(hub).open();
    while (!healthy.isOver) {
      const bornMs = performance.now();
      const { reply, before: events } = await call(client, 'healthy_echo', { text: `한 ${calls}` });
      healthy.ms.push(performance.now() - bornMs);
      if (!/^한 \d+$/.test(reply?.result?.content[0].text) || events.length > 0)
        healthy.failed.push(JSON.stringify([reply, events]));
      await new Promise((done) => setTimeout(done, HEALTHY_EVERY_MS));
    }
    client.close();
  }
  const healthyUse = useHealthy();
  await Promise.all((await callersOf(hub)).map(work));
  healthy.isOver = true;
  await healthyUse;
  const stalls = await watch.stop();
  const healthyMs = healthy.ms.sort((a, b) => a - b)[healthy.ms.length >> 1] ?? 0;
  t.diagnostic(
    `${JSON.stringify(counts)}; healthy: ${healthy.ms.length} calls, median ${healthyMs.toFixed(1)} ms; /health: ${JSON.stringify(stalls)}`,
  );
  assert.deepEqual(wrong, [], `seed ${SEED}`);
  assert.ok(counts.circuit < COUNT / 4, 'most answers are looked at');
  assert.ok(counts.notifications > COUNT / 100, 'notifications are passed on');
  assert.deepEqual(healthy.failed, []);
  for (const name of names) await until(() => isWell(`${name}_well`), 70_000, `${name} is used again`);
  const lines = hub.lines.filter(({ event }) => event === 'messages-invalid' || event === 'server-was-lost');
  assert.ok(!lines.some(({ upstream }) => upstream === 'healthy'), 'the healthy server is named in no report');
  await isUnharmed(hub, 'healthy_echo');
  const kept = await leftIn(hub, sizes);
  if (kept.length > 0) t.diagnostic(kept.join('\n'));
  const beside = `beside ${COUNT} mutated messages of servers`;
  const none = { promise: 'P11', unit: '', strict: 0 };
  measured(
    { ...none, promise: 'P3', what: `calls without a valid end ${beside}`, value: wrong.length },
    { ...none, what: `processes that ended or were replaced ${beside}`, value: changedProcesses(before, hub) },
    { ...none, what: `failed questions of another client ${beside}`, value: stalls.failed },
    { ...none, promise: 'P12', what: `containers not as empty as before ${beside}`, value: kept.length },
    {
      ...{ promise: 'P11', what: `median call of a healthy server ${beside}`, value: healthyMs, unit: 'ms' },
      ...{ strict: HEALTHY_MS, ci: 2 * HEALTHY_MS + 20 },
    },
    {
      ...{ promise: 'P11', what: `longest turn of the worker's loop ${beside}`, value: turns.longestMs() },
      ...{ unit: 'ms CPU', strict: 100, ci: 220 },
    },
  );
});

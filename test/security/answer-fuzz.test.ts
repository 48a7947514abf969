/**
 * Mutated answers of servers in both eras, over stdio and HTTP: every call ends, nothing that is not valid JSON reaches its caller, no process
 * ends, nothing is kept, and another client is served on time.
 */
// runs: alone
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Era, startHostileServer } from '../support/hostile-server.ts';
import { startHub, until } from '../support/hub.ts';
import { Client, isResult } from '../support/load.ts';
import { measured, scaled } from '../support/measured.ts';
import { mutated, randomFrom } from '../support/mutation.ts';
import { startStallWatch } from '../support/stall-watch.ts';
import { isUnharmed } from '../support/unharmed.ts';

const COUNT = scaled({ ci: 10_000, long: 50_000 });
const SEED = Number(process.env.MCPHUB_SEED ?? 20_261_129);
const AT_ONCE = 48;
/** An answer with a changed id matches no call: its call ends by the strict cut of its server. */
const CUT_MS = 200;
const CALL_MS = 12_000;
const SCRIPT = new URL('../support/hostile-server.ts', import.meta.url).pathname;
const ERAS: readonly Era[] = ['2025', '2026'];

const SEEDS: readonly string[] = [
  '{"jsonrpc":"2.0","id":@ID@,"result":{"content":[{"type":"text","text":"caf\xc3\xa9 \\u00e9"}],"isError":false}}',
  '{"jsonrpc":"2.0","id":@ID@,"result":{"resultType":"complete","content":[],"structuredContent":{"a":[1,2.5e3,null,true]}}}',
  '{"jsonrpc":"2.0","id":@ID@,"result":{"resultType":"input_required","inputRequests":{"a":{"method":"elicitation/create","params":{"message":"m","requestedSchema":{"type":"object","properties":{}}}}},"requestState":"s"}}',
  '{"jsonrpc":"2.0","id":@ID@,"error":{"code":-32602,"message":"no","data":{"a":1}}}',
  '{"jsonrpc":"2.0","id":@ID@,"result":{"content":[{"type":"resource_link","uri":"test://a","name":"a"}],"_meta":{"k":{}}}}',
  '{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x"}}',
  '{"jsonrpc":"2.0","id":"q","method":"sampling/createMessage","params":{"messages":[],"maxTokens":1}}',
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

interface Parsed {
  readonly error?: { readonly code?: unknown; readonly message?: unknown; readonly data?: { readonly code?: string } };
  readonly result?: unknown;
}

/** Empty for what is no JSON. */
function parsed(text: string): Parsed {
  try {
    return JSON.parse(text) as Parsed;
  } catch {
    return {};
  }
}

test(`ends the call of each of ${COUNT} mutated answers, and is as it was afterwards`, {
  timeout: 1_800_000,
}, async (t) => {
  await using servers = new AsyncDisposableStack();
  const mcpServers: Record<string, object> = {};
  for (const era of ERAS) {
    const server = await startHostileServer('http', era);
    servers.use(server);
    mcpServers[`http${era}`] = { url: server.url, type: 'streamable-http', callTimeoutMs: CUT_MS };
    mcpServers[`stdio${era}`] = { command: process.execPath, args: [SCRIPT, era], callTimeoutMs: CUT_MS };
  }
  // The circuit stays closed, so that every answer is looked at; an ordinary call after each keeps failures below a half.
  await using hub = await startHub({
    config: { mcpServers },
    env: { MCPHUB_BREAKER_FAILURES: '1000' },
  });
  const names = Object.keys(mcpServers);
  const isWell = async (name: string): Promise<boolean> => {
    const client = new Client(hub);
    const answer = await client.call(`${name}_well`);
    client.close();
    return isResult(answer);
  };
  for (const name of names) await until(() => isWell(name), 20_000, name);
  const random = randomFrom(SEED);
  const before = hub.processes();
  const watch = startStallWatch({ url: hub.url, pids: before.hub ?? [] });
  const counts = { results: 0, errors: 0, circuit: 0 };
  const wrong: string[] = [];
  let left = COUNT;
  async function work(): Promise<void> {
    const client = new Client(hub);
    while (left > 0) {
      left -= 1;
      const text = mutated(random.pick(SEEDS), PIECES, random);
      const bytes = Buffer.from(text, 'latin1').toString('base64');
      const name = random.pick(names);
      const answer = await client.call(`${name}_odd`, { bytes }, CALL_MS);
      const { error, result } = parsed(answer.text);
      if (error?.data?.code === 'breaker-open') counts.circuit += 1;
      else if (typeof error?.code === 'number' && typeof error.message === 'string') counts.errors += 1;
      else if (typeof result === 'object' && result !== null) counts.results += 1;
      else if (wrong.length < 5)
        wrong.push(`${JSON.stringify(text)}\n  ${answer.status} ${answer.fault} ${answer.text.slice(0, 300)}`);
      await client.call(`${name}_well`, {}, CALL_MS);
      await client.call(`${name}_well`, {}, CALL_MS);
    }
    client.close();
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  const stalls = await watch.stop();
  t.diagnostic(`${JSON.stringify(counts)}; /health: ${JSON.stringify(stalls)}`);
  assert.deepEqual(wrong, [], `seed ${SEED}`);
  assert.ok(counts.circuit < COUNT / 2, 'most answers are looked at');
  assert.deepEqual(hub.processes(), before, 'no process has ended');
  assert.equal(stalls.failed, 0, 'another client is served all the time');
  measured({
    promise: 'P11',
    what: 'stall as another client sees it, 50,000 mutated answers',
    value: stalls.stallMs,
    unit: 'ms',
    strict: 100,
    ci: 220,
  });
  for (const name of names) await until(() => isWell(name), 70_000, `${name} is used again`);
  await isUnharmed(hub, 'http2025_well');
});

/**
 * Users of the same servers whose ids and progress tokens collide all the time: whatever one of them receives is
 * compared, byte for byte, with what is theirs. Each call carries a secret of its own; the servers say it in progress
 * and log lines and give the arguments back as they came. A stdio server's log lines belong to nobody for certain, so
 * that nobody may see them; a remote one's come on the call's own exchange.
 */
// runs: in pairs, about 25 s
// covers: E4, P17, P18, B14, B25
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { startFaultHttp } from '../support/fault-http.ts';
import { type RunningHub, startHub, until } from '../support/hub.ts';
import { stdioServer } from '../support/load.ts';
import { callText, makeKey, NEW_KEYS_ENV, type Reading, SseClient } from '../support/sse-client.ts';

/**
 * On a busy machine a call may take longer than usual; without messages before its result it is no stream all the same.
 */
const ENV = { ...NEW_KEYS_ENV, MCPHUB_STREAM_AFTER_MS: '60000' };
const CALLS = 20_000;
const CALLS_TWO_HUBS = 4000;
/** Calls of one client at the same time, each on a socket of its own. */
const WORKERS = 8;
/** JSON text of ids and tokens; two for each worker, so that no session uses one twice at the same time. */
const NAMES = [
  ...['0', '-1', '"0"', '"-1"', '1.50', '1.5', '9007199254740993', '9007199254740992'],
  ...['"9007199254740993"', '1e2', '100', '""', '"a \\"quoted\\" \\u00e9"', '"키"', '-0.0', '12345678901234567890'],
] as const;

interface Asker {
  readonly client: SseClient;
  /** In every argument of its calls, and of no other's. */
  readonly secret: string;
  readonly standing: Reading;
}

interface Planned {
  readonly body: string;
  readonly idText: string;
  /** What must come, in this order, and nothing else. */
  readonly expected: readonly string[];
  readonly isStream: boolean;
}

function plan({ secret }: Asker, worker: number, turn: number): Planned {
  const isRemote = turn % 3 === 0;
  const steps = turn % 4;
  const hasToken = turn % 5 !== 0;
  const late = turn % 7 === 0 ? 2 : 0;
  const idText = NAMES[worker * 2 + (turn % 2)] as string;
  const token = NAMES[worker * 2 + ((turn >> 1) % 2)] as string;
  const text = JSON.stringify(`${secret} ${worker}/${turn} "키"\u2028`);
  const args = `{"text":${text},"steps":${steps},"late":${late}, "exact":[1.50,-0.0,1e2,9007199254740993,"\\u00e9"]}`;
  const said = Array.from({ length: steps }, (_, at) => {
    const progress = `"progressToken":${token},"progress":${at + 1},"total":${steps},"message":${text}`;
    return [
      ...(hasToken ? [`{"jsonrpc":"2.0","method":"notifications/progress","params":{${progress}}}`] : []),
      ...(isRemote
        ? [`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"warning","data":${text}}}`]
        : []),
    ];
  }).flat();
  // What would end a line for some readers of stdin is escaped there.
  const heard = isRemote ? args : args.replaceAll('\u2028', '\\u2028');
  const content = `{"content":[{"type":"text","text":${JSON.stringify(heard)}}]}`;
  return {
    body: callText(isRemote ? 'remote_report' : 'child_report', args, {
      id: idText,
      token: hasToken ? token : undefined,
    }),
    idText,
    expected: [...said, `{"jsonrpc":"2.0","id":${idText},"result":${content}}`],
    isStream: said.length > 0,
  };
}

/** What goes round at the same time, and everything that was not as it should be. */
class Record {
  readonly faults: string[] = [];
  readonly #secrets: readonly string[];
  readonly #eventIds = new Set<string>();
  readonly #flying = new Map<string, number>();
  calls = 0;
  /** Calls that began while another client's with the same id was on its way. */
  collisions = 0;

  constructor(secrets: readonly string[]) {
    this.#secrets = secrets;
  }

  begin({ idText }: Planned): void {
    const others = this.#flying.get(idText) ?? 0;
    if (others > 0) this.collisions += 1;
    this.#flying.set(idText, others + 1);
  }

  check({ idText, expected, isStream }: Planned, got: Reading, secret: string): void {
    this.calls += 1;
    this.#flying.set(idText, (this.#flying.get(idText) ?? 0) - 1);
    const fail = (what: string): void =>
      void this.faults.push(`${what}\n${got.received}\nexpected\n${expected.join('\n')}`);
    if (got.status !== 200 || !got.ended) return fail(`${got.status} ${got.fault}`);
    for (const other of this.#secrets)
      if (other !== secret && got.received.includes(other)) fail(`what belongs to ${other} came to ${secret}`);
    if (got.isStream !== isStream) return fail(isStream ? 'no stream' : 'a stream');
    const messages = isStream ? got.messages : [got.body];
    if (messages.join('\n') !== expected.join('\n')) fail('not the bytes that belong to this call');
    for (const { id } of got.events) {
      if (id === undefined || this.#eventIds.has(id)) fail(`event id ${id}`);
      else this.#eventIds.add(id);
    }
  }
}

async function openAsker(hub: RunningHub, key: string): Promise<Asker> {
  const client = await new SseClient({ port: hub.port, key, sockets: WORKERS }).open();
  const standing = await client.get().answered();
  return { client, secret: randomBytes(12).toString('hex'), standing };
}

/** Four users, one of them twice. */
async function openAskers(hub: RunningHub): Promise<Asker[]> {
  const keys: string[] = [];
  for (const user of ['ann', 'bob', 'cho', 'dan']) keys.push(await makeKey(hub, user));
  await until(
    async () => {
      const client = new SseClient({ port: hub.port, key: hub.key });
      const list = await client.post('{"jsonrpc":"2.0","id":1,"method":"tools/list"}').end();
      client.close();
      return list.body.includes('child_report') && list.body.includes('remote_report');
    },
    30_000,
    'both servers',
  );
  return Promise.all([...keys, keys[0] as string].map((key) => openAsker(hub, key)));
}

async function ask(asker: Asker, worker: number, turns: number, record: Record): Promise<void> {
  for (let turn = 0; turn < turns && record.faults.length === 0; turn += 1) {
    const planned = plan(asker, worker, turn);
    record.begin(planned);
    record.check(planned, await asker.client.post(planned.body).end(), asker.secret);
  }
}

async function run(hubs: number, calls: number): Promise<void> {
  const remote = await startFaultHttp({ answer: 'sse' });
  try {
    await using hub = await startHub({
      config: { mcpServers: { child: stdioServer(), remote: { type: 'streamable-http', url: remote.url } } },
      args: ['--workers', String(hubs)],
      env: ENV,
    });
    if (hubs > 1)
      await until(() => hub.log.includes('hub-1 started') && hub.log.includes('hub-2 started'), 60_000, 'two hubs');
    const askers = await openAskers(hub);
    const record = new Record(askers.map(({ secret }) => secret));
    const turns = Math.ceil(calls / (askers.length * WORKERS));
    await Promise.all(
      askers.flatMap((asker) => Array.from({ length: WORKERS }, (_, worker) => ask(asker, worker, turns, record))),
    );
    assert.deepEqual(record.faults.slice(0, 3), [], `of ${record.calls} calls`);
    assert.equal(record.calls, turns * askers.length * WORKERS);
    assert.ok(record.calls >= calls);
    assert.ok(record.collisions > record.calls / 2, `${record.collisions} of ${record.calls} calls met their like`);
    for (const { standing } of askers) {
      assert.equal(standing.over, false, 'its stream is open');
      for (const { secret } of askers)
        assert.equal(standing.received.includes(secret), false, `nothing of a call is on a standing stream`);
    }
    for (const { client } of askers) client.close();
  } finally {
    await remote.close();
  }
}

// row C16 · guards src/upstream/connection/correlator.ts
test(
  `five clients with the same ids and tokens, ${CALLS} calls to shared servers: each gets its own bytes`,
  {
    timeout: 300_000,
  },
  () => run(1, CALLS),
);

test(`the same at two hubs, ${CALLS_TWO_HUBS} calls`, { timeout: 180_000 }, () => run(2, CALLS_TWO_HUBS));

// row C12 · guards src/call/cancel.ts
test('a cancel of an id ends the call of its own session and no other’s', { timeout: 60_000 }, async () => {
  await using hub = await startHub({
    config: { mcpServers: { child: stdioServer(), remote: stdioServer() } },
    env: NEW_KEYS_ENV,
  });
  const [one, two, again] = (await openAskers(hub)).map(({ client }) => client) as [SseClient, SseClient, SseClient];
  const calls = [one, two, again].map((client) =>
    client.postAlone(callText('child_report', '{"text":"x","steps":20,"ms":100}', { id: '-0.0', token: '0' })),
  );
  await Promise.all(calls.map((call) => call.hasMessages(2)));
  await one.post('{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":-0.0}}').end();
  const [ended, ...others] = (await Promise.all(calls.map((call) => call.end()))) as [Reading, ...Reading[]];
  assert.ok(ended.messages.length < 21, 'it ended early');
  assert.ok(!ended.messages.some((message) => message.includes('"result"')));
  for (const other of others) {
    assert.equal(other.messages.length, 21);
    assert.match(other.messages.at(-1) ?? '', /^\{"jsonrpc":"2\.0","id":-0\.0,"result":/);
  }
  for (const client of [one, two, again]) client.close();
});

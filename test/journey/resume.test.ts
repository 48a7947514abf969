/**
 * Clients that lose their stream and come back with `Last-Event-ID`: what they missed comes once, in order, and the
 * call's result is the last of it; when the hub that carried the call was killed they get an error; nobody else's
 * events are given out.
 */
// covers: E5, B10, P17, P18, B9
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { environOf, type RunningHub, startHub, tryKill, until } from '../support/hub.ts';
import { askHub, stdioServer } from '../support/load.ts';
import { callText, makeKey, NEW_KEYS_ENV, type Reading, SseClient } from '../support/sse-client.ts';

const CONFIG = { mcpServers: { child: stdioServer() } };
const SECRET = 'what-only-ann-may-read';

/** ms between two steps: long enough that a drop and a return lie between them, also on a busy machine. */
const STEP_MS = 500;

const reportArgs = (steps: number, ms = STEP_MS): string => `{"text":"${SECRET}","steps":${steps},"ms":${ms},"late":2}`;

const progressText = (step: number, steps: number, token: string): string =>
  `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":${token},"progress":${step},"total":${steps},"message":"${SECRET}"}}`;

const resultText = (id: string, text: string): string =>
  `{"jsonrpc":"2.0","id":${id},"result":{"content":[{"type":"text","text":${JSON.stringify(text)}}]}}`;

/** Everything that a call with `steps` steps says, its result last. */
function wholeCall(steps: number, id: string, token: string, ms = STEP_MS): string[] {
  const said = Array.from({ length: steps }, (_, at) => progressText(at + 1, steps, token));
  return [...said, resultText(id, reportArgs(steps, ms))];
}

async function toolsOf(hub: RunningHub, key = hub.key): Promise<string> {
  const client = new SseClient({ port: hub.port, key });
  const { body } = await client.post('{"jsonrpc":"2.0","id":1,"method":"tools/list"}').end();
  client.close();
  return body;
}

async function begin(hubs = 1): Promise<RunningHub> {
  const hub = await startHub({ config: CONFIG, args: ['--workers', String(hubs)], env: NEW_KEYS_ENV });
  await until(async () => (await toolsOf(hub)).includes('child_report'), 30_000, 'the server');
  if (hubs > 1)
    await until(() => hub.log.includes('hub-1 started') && hub.log.includes('hub-2 started'), 60_000, 'two hubs');
  return hub;
}

function clientOf(hub: RunningHub, key = hub.key): Promise<SseClient> {
  return new SseClient({ port: hub.port, key }).open();
}

interface Ceiling {
  readonly name: string;
  readonly size: number;
}

async function ceilingOf(hub: RunningHub, name: string, slot = 1): Promise<number> {
  const answer = (await askHub(hub, '/api/ceilings', slot)) as { ceilings?: Ceiling[] } | undefined;
  return answer?.ceilings?.find((row) => row.name === name)?.size ?? 0;
}

/** Until nothing is in flight: whatever was called has its answer. */
async function settled(hub: RunningHub, hubs = 1): Promise<void> {
  for (let slot = 1; slot <= hubs; slot += 1)
    await until(async () => (await ceilingOf(hub, 'call.in-flight', slot)) === 0, 30_000, 'the end of the calls');
}

function killHub(hub: RunningHub, slot: number): void {
  const pid = hub.processes().hub?.find((one) => environOf(one).MCPHUB_SLOT === String(slot));
  assert.ok(pid, `a hub at slot ${slot}`);
  tryKill(pid);
}

const slotOf = (eventId: string): number => Number(eventId.split('.')[0]);

function assertLost(reading: Reading, id: string): void {
  assert.equal(reading.status, 200, reading.received);
  assert.ok(reading.isStream && reading.ended, reading.received);
  assert.equal(reading.messages.length, 1, reading.received);
  const [text = ''] = reading.messages;
  assert.ok(text.startsWith(`{"jsonrpc":"2.0","id":${id},"error":`), text);
  assert.equal(JSON.parse(text).error.data.code, 'call-lost');
}

/** The whole answer to a GET; asked again while there is no hub to give one. */
async function comeBack(client: SseClient, lastEventId: string): Promise<Reading> {
  let reading: Reading | undefined;
  await until(
    async () => {
      reading = await client.get(lastEventId).end(60_000);
      return reading.status !== 0 && reading.status !== 503;
    },
    60_000,
    'an answer of the new hub',
  );
  return reading as Reading;
}

/** Ids of one stream have one head and rise. */
function assertInOrder(readings: readonly Reading[]): void {
  const ids = readings.flatMap(({ events }) =>
    events.flatMap(({ id, data }) => (id === undefined || data === '' ? [] : [id])),
  );
  // An `E` behind the number marks the last event of a call.
  const numbers = ids.map((id) => Number.parseInt((id.split('.')[3] ?? '').replace(/E$/, ''), 36));
  assert.deepEqual(
    numbers,
    numbers.map((_, at) => at + 1),
    ids.join(' '),
  );
  assert.equal(new Set(ids.map((id) => id.split('.').toSpliced(3, 1).join('.'))).size, 1, ids.join(' '));
}

describe('one hub', { timeout: 240_000 }, () => {
  let hub: RunningHub;
  let ann: SseClient;
  before(async () => {
    hub = await begin();
    ann = await clientOf(hub, await makeKey(hub, 'ann'));
  });
  after(async () => {
    ann?.close();
    await hub?.[Symbol.asyncDispose]();
  });

  test('a stream dropped after the first progress goes on where it was, to the result, and ends', async () => {
    const call = callText('child_report', reportArgs(6), { id: '9007199254740993', token: '"t"' });
    const first = ann.postAlone(call);
    await first.hasMessages(1);
    first.drop();
    const second = await ann.get(first.lastId).end();
    assert.deepEqual([...first.messages, ...second.messages], wholeCall(6, '9007199254740993', '"t"'));
    assert.ok(second.ended, 'the stream ends with the result');
    assertInOrder([first, second]);
    const third = await ann.get(second.lastId).end();
    assert.deepEqual([third.status, third.messages], [405, []], 'nothing after the result, and nothing twice');
  });

  test('a stream dropped again and again misses nothing', async () => {
    const readings = [ann.postAlone(callText('child_report', reportArgs(8, 250), { id: '"again"', token: '0' }))];
    let lastId: string | undefined;
    for (let reading = readings[0]; reading; ) {
      await until(() => reading?.over === true || (reading?.messages.length ?? 0) > 0, 30_000, 'a message');
      lastId = reading.lastId ?? lastId;
      if (reading.messages.at(-1)?.includes('"result"')) break;
      reading.drop();
      reading = ann.get(lastId);
      readings.push(reading);
    }
    assert.deepEqual(
      readings.flatMap(({ messages }) => messages),
      wholeCall(8, '"again"', '0', 250),
    );
    assert.ok(readings.length > 2, `${readings.length} streams`);
    assertInOrder(readings);
  });

  test('a result that came while nobody listened waits for its client', async () => {
    const first = ann.postAlone(callText('child_report', reportArgs(3, 200), { id: '-1', token: '1.50' }));
    await first.hasMessages(1);
    first.drop();
    await settled(hub);
    const second = await ann.get(first.lastId).end();
    assert.deepEqual([...first.messages, ...second.messages], wholeCall(3, '-1', '1.50', 200));
    assert.ok(second.ended);
    assertInOrder([first, second]);
  });

  test('a slow call that says nothing becomes a stream, which can be dropped and resumed', async () => {
    const first = ann.postAlone(callText('child_sleep', '{"ms":3000}', { id: '0' }));
    await until(() => first.lastId !== undefined, 30_000, 'an id to come back with');
    assert.deepEqual(first.messages, []);
    first.drop();
    const second = await ann.get(first.lastId).end();
    assert.deepEqual(second.messages, [resultText('0', 'slept 3000')]);
    assert.ok(second.ended);
  });

  test('the newest stream of a call has it; the older one is closed', async () => {
    const first = ann.postAlone(callText('child_report', reportArgs(5), { id: '5', token: '5' }));
    await first.hasMessages(1);
    const second = ann.get(first.lastId);
    await first.end();
    assert.ok(first.ended, 'closed in order');
    await second.end();
    assert.deepEqual([...first.messages, ...second.messages], wholeCall(5, '5', '5'));
    assertInOrder([first, second]);
  });

  test('an event id gives nothing of the call to another user or another session', async () => {
    const bob = await clientOf(hub, await makeKey(hub, 'bob'));
    const sameUser = await clientOf(hub);
    const first = ann.postAlone(callText('child_report', reportArgs(6), { id: '"mine"', token: '7' }));
    await first.hasMessages(1);
    const id = first.lastId ?? '';
    const thief = new SseClient({ port: hub.port, key: hub.key });
    thief.session = ann.session;
    const stolen = await thief.get(id).end();
    assert.equal(stolen.status, 404, 'a session is its user’s');
    for (const other of [bob, sameUser]) assertLost(await other.get(id).end(), '"mine"');
    first.drop();
    const second = ann.get(id);
    await second.hasMessages(1);
    for (const other of [bob, sameUser]) assertLost(await other.get(id).end(), '"mine"');
    await second.end();
    assert.deepEqual(
      [...first.messages, ...second.messages],
      wholeCall(6, '"mine"', '7'),
      'and its own stream was not touched',
    );
    for (const other of [bob, sameUser]) {
      assert.equal((await other.get(second.lastId ?? '').end()).status, 405, 'the id itself says that nothing follows');
      other.close();
    }
    thief.close();
  });

  test('what is no event id of ours is a new standing stream', async () => {
    for (const id of ['x', '1', '1.aaaaaaaa.1.1', '../../etc/passwd', `1.aaaaaaaa.1.1.${'A'.repeat(500)}`]) {
      const reading = await ann.get(id).answered();
      assert.equal(reading.status, 200, id);
      assert.deepEqual(reading.messages, []);
      assert.equal(reading.over, false, id);
      reading.drop();
    }
  });

  test('a session has up to four standing streams; then the oldest is closed', async () => {
    const client = await clientOf(hub);
    const streams: Reading[] = []; // bounded by: 5
    for (let count = 0; count < 5; count += 1) streams.push(await client.get().answered());
    const [oldest, ...others] = streams;
    await oldest?.end();
    assert.ok(oldest?.ended);
    assert.deepEqual(
      others.map(({ over }) => over),
      [false, false, false, false],
    );
    client.close();
  });

  test('what was told while the client was away comes once when it is back', async () => {
    const here = await clientOf(hub);
    const away = await clientOf(hub);
    const stays = await here.get().answered();
    const first = await away.get().answered();
    const change = async (servers: object, what: (tools: string) => boolean): Promise<void> => {
      const heard = stays.messages.length;
      writeFileSync(hub.configFile, JSON.stringify({ mcpServers: { ...CONFIG.mcpServers, ...servers } }));
      await until(async () => what(await toolsOf(hub)), 30_000, 'the change');
      await until(() => stays.messages.length > heard, 30_000, 'list_changed');
    };
    await change({ extra: stdioServer() }, (tools) => tools.includes('extra_echo'));
    await until(() => first.messages.length === stays.messages.length, 10_000, 'both have heard it');
    const before = first.messages.length;
    first.drop();
    await until(async () => (await ceilingOf(hub, 'session.parked')) > 0, 10_000, 'the hub knows that it is away');
    await change({}, (tools) => !tools.includes('extra_echo'));
    await change({ other: stdioServer() }, (tools) => tools.includes('other_echo'));
    const second = away.get(first.lastId);
    await until(() => before + second.messages.length === stays.messages.length, 10_000, 'what it missed');
    assert.ok(second.messages.length >= 2);
    assert.deepEqual(second.messages, stays.messages.slice(before));
    assertInOrder([first, second]);
    await change({}, (tools) => !tools.includes('other_echo'));
    await until(() => before + second.messages.length === stays.messages.length, 10_000, 'what follows');
    assert.deepEqual([...first.messages, ...second.messages], stays.messages);
    for (const client of [here, away]) client.close();
  });

  test('after DELETE nothing can be resumed', async () => {
    const client = await clientOf(hub);
    const standing = await client.get().answered();
    const call = client.postAlone(callText('child_report', reportArgs(3), { id: '1', token: '1' }));
    await call.hasMessages(1);
    call.drop();
    assert.equal((await client.delete().end()).status, 200);
    await standing.end();
    for (const id of [call.lastId, standing.lastId]) {
      const reading = await client.get(id).end();
      assert.equal(reading.status, 404, reading.received);
      assert.ok(!reading.received.includes(SECRET));
    }
    client.close();
  });
});

test('kill -9 of the hub in mid-call: whoever comes back is told that the call is lost', {
  timeout: 120_000,
}, async () => {
  await using hub = await begin();
  const client = await clientOf(hub);
  const standing = await client.get().answered();
  const call = client.postAlone(callText('child_report', reportArgs(20), { id: '"a call"', token: '1' }));
  const silent = client.postAlone(callText('child_sleep', '{"ms":4500}', { id: '9007199254740993' }));
  await call.hasMessages(2);
  await until(() => silent.lastId !== undefined, 30_000, 'a stream');
  killHub(hub, 1);
  await Promise.all([call.end(), silent.end()]);
  assert.ok(!call.ended && !silent.ended, 'cut, not ended');
  assertLost(await comeBack(client, call.lastId ?? ''), '"a call"');
  assertLost(await comeBack(client, silent.lastId ?? ''), '9007199254740993');
  const told = await comeBack(client, call.lastId ?? '');
  assertLost(told, '"a call"');
  assert.equal((await client.get(told.lastId).end()).status, 405, 'whoever was told is not told again');
  const again = await client.get(standing.lastId).answered();
  assert.equal(again.status, 200, 'the standing stream begins anew');
  assert.equal(again.over, false);
  client.close();
});

// case: CL37
test('whoever has had the answer of a call is told that nothing follows, also by a worker that never saw the call', {
  timeout: 120_000,
}, async () => {
  await using hub = await begin();
  const client = await clientOf(hub);
  const call = client.postAlone(callText('child_report', reportArgs(2, 1), { id: '"a call"', token: '1' }));
  await call.end();
  assert.ok(call.messages.at(-1)?.includes('"result"'), 'the answer came on the stream');
  const lastId = call.lastId ?? '';
  assert.equal((await client.get(lastId).end()).status, 405);
  killHub(hub, 1);
  await until(async () => (await toolsOf(hub).catch(() => '')).includes('child_report'), 60_000, 'the new worker');
  assert.equal((await client.get(lastId).end()).status, 405, 'no "call was lost"');
  client.close();
});

test('at two hubs the way back may lead through the other one', { timeout: 180_000 }, async () => {
  await using hub = await begin(2);
  const client = await clientOf(hub);
  const steps = 24;
  const readings = [client.postAlone(callText('child_report', reportArgs(steps), { id: '"two"', token: '2' }))];
  const ways = new Set<string>();
  for (;;) {
    const reading = readings.at(-1) as Reading;
    await until(() => reading.over || reading.messages.length > 0, 30_000, 'a message');
    if (readings.length > 1)
      ways.add(
        (await ceilingOf(hub, 'downstream.siblings', 3 - slotOf(reading.lastId ?? ''))) > 0 ? 'passed' : 'direct',
      );
    if (ways.size === 2 || reading.over) break;
    reading.drop();
    readings.push(client.get(reading.lastId));
  }
  await readings.at(-1)?.end();
  assert.deepEqual([...ways].sort(), ['direct', 'passed'], `in ${readings.length} turns`);
  assert.deepEqual(
    readings.flatMap(({ messages }) => messages),
    wholeCall(steps, '"two"', '2'),
  );
  assertInOrder(readings);
  client.close();
});

test('at two hubs a standing stream is one, whichever way its client comes back', { timeout: 180_000 }, async () => {
  await using hub = await begin(2);
  const client = await clientOf(hub);
  const first = await client.get().answered();
  await until(() => first.lastId !== undefined, 10_000, 'an id to come back with');
  const id = first.lastId ?? '';
  const owner = slotOf(id);
  const ways = new Set<string>();
  let last = first;
  for (let turn = 0; turn < 8; turn += 1) {
    const reading = await client.get(id).answered();
    last.drop();
    last = reading;
    await until(async () => (await ceilingOf(hub, 'downstream.streams', owner)) === 1, 10_000, 'one stream');
    ways.add((await ceilingOf(hub, 'downstream.siblings', 3 - owner)) > 0 ? 'passed' : 'direct');
  }
  assert.deepEqual([...ways].sort(), ['direct', 'passed']);
  writeFileSync(hub.configFile, JSON.stringify({ mcpServers: { ...CONFIG.mcpServers, extra: stdioServer() } }));
  await last.hasMessages(1);
  assert.match(last.messages[0] ?? '', /list_changed/);
  killHub(hub, owner);
  await last.end();
  await until(
    async () => (await client.get(last.lastId).head()).status === 200,
    60_000,
    'a stream that begins anew at whoever is left',
  );
  client.close();
});

test('at two hubs a call whose hub was killed is told to be lost by both', { timeout: 180_000 }, async () => {
  await using hub = await begin(2);
  const client = await clientOf(hub);
  const call = client.postAlone(callText('child_report', reportArgs(40), { id: '3', token: '3' }));
  await call.hasMessages(1);
  const id = call.lastId ?? '';
  killHub(hub, slotOf(id));
  await call.end();
  for (let turn = 0; turn < 6; turn += 1) assertLost(await comeBack(client, id), '3');
  await until(() => hub.processes().hub?.length === 2, 60_000, 'two hubs again');
  for (let turn = 0; turn < 6; turn += 1) assertLost(await comeBack(client, id), '3');
  client.close();
});

// covers: P2, P16, P17, B21, B22, B23
/**
 * Calls through pipeline, link and transport to real servers that hang, crash, restart and answer twice.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startFaultHttp } from '../../test/support/fault-http.ts';
import type { FaultHttpFlags } from '../../test/support/fault-http-flags.ts';
import { delay, until } from '../../test/support/hub.ts';
import { httpSpec, LiveFleet, stdioSpec } from '../../test/support/live-fleet.ts';
import { isRefusal } from '../model/outcome.ts';

async function faultServer(flags: FaultHttpFlags = {}) {
  const server = await startFaultHttp(flags);
  return { ...server, [Symbol.asyncDispose]: () => server.close() };
}

async function timed<T>(work: Promise<T>): Promise<{ value: T; ms: number }> {
  const bornMs = performance.now();
  return { value: await work, ms: performance.now() - bornMs };
}

const QUICK = { silenceMs: 500, questionMs: 250, pingMs: 250 };
const HUNG: FaultHttpFlags = { silent: true, faultMethods: ['tools/call', 'ping'] };

test('a frozen HTTP server ends its own calls at the silence limit and slows nobody else’s', async () => {
  await using server = await faultServer(HUNG);
  await using healthy = await faultServer();
  await using rig = new LiveFleet({ limits: QUICK });
  rig.registry.apply([httpSpec('hung', server.url), httpSpec('well', healthy.url)]);
  await Promise.all([rig.ready('hung'), rig.ready('well')]);
  const hung = timed(rig.refusal('hung', 'echo', { text: 'x' }));
  for (let n = 0; n < 20; n += 1) {
    const { value, ms } = await timed(rig.text('well', 'echo', { text: String(n) }));
    assert.equal(value, String(n));
    assert.ok(ms < 250, `${ms} ms beside a hung server`);
  }
  const { value, ms } = await hung;
  assert.ok(ms >= 450 && ms < 1500, `${ms} ms`);
  assert.equal(value.code, 'upstream-silent');
  const { server: name, phase, setting, waitedMs } = value.detail;
  assert.deepEqual([name, phase, setting], ['hung', 'call', 'silenceMs']);
  assert.ok(Number(waitedMs) >= 450);
  await until(() => server.seen.byMethod['notifications/cancelled'] === 1, 2000, 'cancelled at the server, once');
});

// row A3 · guards src/upstream/transport/streamable-http/exchange.ts
test('a thousand calls that time out leave no open request at their servers', async () => {
  const silent: FaultHttpFlags = { silent: true };
  await using one = await faultServer(silent);
  await using two = await faultServer(silent);
  await using rig = new LiveFleet({ limits: { serverConnections: 500, connectMs: 20_000 } });
  rig.registry.apply([httpSpec('one', one.url, { inFlight: 500 }), httpSpec('two', two.url, { inFlight: 500 })]);
  await Promise.all([rig.ready('one'), rig.ready('two')]);
  const times = { silenceMs: 5000, callTimeoutMs: 3000 };
  const call = (n: number) => rig.refusal(n % 2 === 0 ? 'one' : 'two', 'echo', {}, { times, fairKey: `k${n}` });
  const refusals = await Promise.all(Array.from({ length: 1000 }, (_, n) => call(n)));
  assert.deepEqual([...new Set(refusals.map((refusal) => refusal.detail.setting))], ['callTimeoutMs']);
  // Fewer than all on a busy machine: the rest ended before they were sent. Never more: no call is sent twice.
  const calls = () => (one.seen.byMethod['tools/call'] ?? 0) + (two.seen.byMethod['tools/call'] ?? 0);
  const open = () => one.seen.open + two.seen.open - one.seen.getStreams - two.seen.getStreams;
  // Client and servers run in this process; on a busy machine the servers are late to notice closed requests.
  await until(() => open() === 0, 5000, 'no request is open but the GET streams');
  assert.ok(calls() > 100 && calls() <= 1000, `${calls()} calls came to the servers`);
  assert.equal(rig.registry.status('one')?.inFlight, 0);
});

// row A4 · guards src/resilience/bulkhead.ts
test('a thousand calls to a hung server settle in time over its few sockets', async () => {
  await using server = await faultServer(HUNG);
  await using rig = new LiveFleet({ limits: { silenceMs: 600, questionMs: 300, serverQueueMs: 300 } });
  rig.registry.apply([httpSpec('hung', server.url)]);
  await rig.ready('hung');
  // Of a thousand keys, because one alone does not get every place.
  const call = (n: number) => rig.refusal('hung', 'echo', {}, { fairKey: `k${n}` });
  const asked = timed(Promise.all(Array.from({ length: 1000 }, (_, n) => call(n))));
  await until(
    () => Number(server.seen.byMethod['tools/call'] ?? 0) >= 64,
    2000,
    'the calls that are inside have arrived',
  );
  assert.ok(server.seen.socketsOpen <= 72, `${server.seen.socketsOpen} sockets at once`);
  const { value, ms } = await asked;
  assert.ok(ms < 2500, `${ms} ms`);
  const codes = Map.groupBy(value, (refusal) => refusal.code);
  assert.equal(codes.get('upstream-silent')?.length, 64);
  assert.equal(codes.get('server-busy')?.length, 936);
  // Each cut call closes its socket, and its cancel may need a new one; a thousand calls must not cause hundreds of
  // sockets.
  assert.ok(server.seen.sockets <= 72 + 64, `${server.seen.sockets} sockets in all`);
  assert.equal(rig.registry.status('hung')?.queued, 0);
});

test('a server that restarts between two calls is initialized again and runs the second call once', async () => {
  const first = await startFaultHttp();
  await using rig = new LiveFleet();
  rig.registry.apply([httpSpec('s', first.url)]);
  await rig.ready('s');
  assert.equal(await rig.text('s', 'echo', { text: 'one' }), 'one');
  await first.close();
  await delay(50); // until the idle sockets are seen to be closed
  await using second = await faultServer({ port: first.port });
  assert.equal(await rig.text('s', 'echo', { text: 'two' }), 'two');
  assert.equal(second.seen.executions, 1);
  assert.equal(second.seen.byMethod.initialize, 1);
});

test('a server that forgets every session is told apart from one that forgot once', async () => {
  await using server = await faultServer({ forgetAfter: 0, get: 'none' });
  await using rig = new LiveFleet({ limits: { restartBaseMs: 5000 } });
  rig.registry.apply([httpSpec('s', server.url)]);
  await until(() => rig.registry.status('s')?.state === 'waiting', 5000, 'given up for now');
  assert.equal(rig.registry.status('s')?.code, 'upstream-session');
  assert.ok(Number(server.seen.byMethod.initialize) <= 5, 'it is not asked in a tight loop');
});

test('a server that comes up late is served without anybody asking', async () => {
  const gone = await startFaultHttp();
  await gone.close();
  await using rig = new LiveFleet({ limits: { restartCapMs: 1000 } });
  rig.registry.apply([httpSpec('s', gone.url)]);
  await until(() => rig.registry.status('s')?.state === 'waiting', 5000, 'it is down');
  const refused = await rig.refusal('s', 'echo');
  assert.equal(refused.code, 'server-down');
  assert.equal(refused.detail.cause, 'upstream-connect');
  assert.equal(refused.detail.outcome, 'not-executed');
  await using back = await faultServer({ port: gone.port });
  await rig.ready('s');
  assert.equal(await rig.text('s', 'echo', { text: 'here' }), 'here');
  assert.equal(back.seen.executions, 1);
});

test('a child that never reads is named with phase and setting, and the other children do not notice', async () => {
  await using rig = new LiveFleet();
  rig.registry.apply([
    stdioSpec('deaf', ['never-reads-stdin'], { startMs: 1500 }),
    stdioSpec('well', ['normal'], { hash: 'other' }),
  ]);
  const early = rig.refusal('deaf', 'echo', {}, { deadline: rig.runtime.deadline(300) });
  await rig.ready('well');
  assert.equal(await rig.text('well', 'add', { a: 2, b: 3 }), '5');
  const starting = await early;
  assert.equal(starting.code, 'server-starting');
  assert.equal(starting.detail.outcome, 'not-executed');
  await until(() => rig.registry.status('deaf')?.state === 'waiting', 5000, 'given up for now');
  const down = await rig.refusal('deaf', 'echo');
  assert.equal(down.code, 'server-down');
  assert.deepEqual([down.detail.phase, down.detail.setting], ['handshake', 'startMs']);
});

test('a child that crashes in a call says so to that call, and a new one serves the next', async () => {
  await using rig = new LiveFleet();
  rig.registry.apply([stdioSpec('s', ['normal'])]);
  await rig.ready('s');
  const before = await rig.text('s', 'pid');
  const crash = await rig.refusal('s', 'crash', { code: 9 });
  assert.equal(crash.code, 'upstream-exit');
  assert.deepEqual([crash.detail.server, crash.detail.outcome], ['s', 'unknown']);
  await until(() => rig.registry.status('s')?.state !== 'ready', 2000, 'noticed');
  await rig.ready('s');
  assert.notEqual(await rig.text('s', 'pid'), before);
});

test('a child at work without a word is left at work: its CPU time is a sign of life', async () => {
  await using rig = new LiveFleet({ limits: { silenceMs: 2000, questionMs: 1000, pingMs: 500 } });
  rig.registry.apply([stdioSpec('s', ['busy', '3500'])]);
  await rig.ready('s');
  const { value, ms } = await timed(rig.text('s', 'echo', { text: 'done' }));
  assert.equal(value, 'done');
  assert.ok(ms >= 3000, `${ms} ms`);
});

test('a child that only answers pings may take its time; strict mode cuts it, and late and double words find nobody', async () => {
  await using rig = new LiveFleet({ limits: { ...QUICK, silenceMs: 400 } });
  rig.registry.apply([stdioSpec('s', ['normal']), stdioSpec('twice', ['dup-response'], { hash: 'b' })]);
  await Promise.all([rig.ready('s'), rig.ready('twice')]);
  // It answers pings, so that a long call counts as running.
  assert.equal(await rig.text('s', 'sleep', { ms: 900 }), 'slept 900');
  // In strict mode signs of life do not count.
  const times = { silenceMs: 400, callTimeoutMs: 300 };
  const cut = await rig.refusal('s', 'sleep', { ms: 600 }, { times });
  assert.deepEqual([cut.code, cut.detail.setting], ['upstream-timeout', 'callTimeoutMs']);
  assert.equal(await rig.text('s', 'sleep', { ms: 500 }), 'slept 500');
  assert.equal(await rig.text('twice', 'echo', { text: 'a' }), 'a');
  assert.equal(await rig.text('twice', 'echo', { text: 'b' }), 'b');
});

test('applying the same servers again keeps the child; a changed digest replaces it and leaves none behind', async () => {
  await using rig = new LiveFleet();
  rig.registry.apply([stdioSpec('s', ['normal'])]);
  await rig.ready('s');
  const first = await rig.text('s', 'pid');
  rig.registry.apply([stdioSpec('s', ['normal'], { name: 'renamed' })]);
  assert.equal(await rig.text('s', 'pid'), first);
  const running = rig.call('s', 'sleep', { ms: 300 });
  rig.registry.apply([stdioSpec('s', ['normal'], { hash: 'new' })]);
  const answer = await running;
  assert.ok(!isRefusal(answer), 'a call that is under way may finish');
  await rig.ready('s');
  assert.notEqual(await rig.text('s', 'pid'), first);
});

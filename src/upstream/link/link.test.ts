// covers: P15, P16
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FleetRig, refusalOf, textOf } from '../../../test/support/fleet-rig.ts';
import { scriptedSpec, settle } from '../../../test/support/scripted-transport.ts';
import { HubError } from '../../model/errors.ts';
import type { ServerSpec } from '../../model/snapshot.ts';

const REMOTE = scriptedSpec({
  homeHub: 0,
  transport: { kind: 'http', url: 'http://127.0.0.1:1/mcp', headers: {}, launch: undefined },
});

test('ready comes from a finished handshake and list, and the order on the wire is initialize, initialized, tools/list', async () => {
  const rig = new FleetRig({ specs: [scriptedSpec()], script: { lists: false } });
  await settle();
  assert.deepEqual(
    rig.life.sent.map((one) => one.method),
    ['initialize', 'notifications/initialized', 'tools/list'],
  );
  assert.deepEqual(rig.life.sent[0]?.params, {
    protocolVersion: '2025-11-25',
    capabilities: {},
    clientInfo: { name: 'mcphub', version: '0' },
  });
  assert.deepEqual([rig.state(), rig.registry.status('scripted')?.phase], ['connecting', 'list']);
  rig.life.reply(rig.life.last('tools/list').id, { tools: [{ name: 'a' }] });
  await settle();
  assert.equal(rig.state(), 'ready');
  assert.deepEqual(rig.listed, ['{"name":"a"}']);
  assert.equal(rig.registry.status('scripted')?.serverInfo, 'scripted 1');
  await rig.close();
});

test('every date of the era is accepted and every other named', async () => {
  for (const version of ['2024-10-07', '2024-11-05', '2025-03-26', '2025-06-18', '2025-11-25']) {
    const rig = await FleetRig.ready({ script: { version } });
    assert.equal(rig.registry.status('scripted')?.protocolVersion, version);
    await rig.close();
  }
  const rig = await FleetRig.ready({ script: { version: '2023-01-01' } });
  assert.equal(rig.state(), 'waiting');
  assert.equal(rig.registry.status('scripted')?.code, 'upstream-protocol');
  assert.match(rig.registry.status('scripted')?.cause ?? '', /2023-01-01/);
  await rig.close();
});

// case: SV2
test('a server that declares no tools is asked for them all the same, and has none when it refuses', async () => {
  const rig = await FleetRig.ready({ script: { capabilities: { logging: {} }, lists: false } });
  rig.life.say({ id: rig.life.last('tools/list').id, error: { code: -32601, message: 'Method not found' } });
  await settle();
  const status = rig.registry.status('scripted');
  assert.deepEqual([status?.state, status?.declaresNothing, status?.unread], ['ready', true, undefined]);
  assert.deepEqual(rig.listed, ['']);
  await rig.close();
});

test('a silent handshake ends at its budget and names phase and setting; a call meanwhile is told that it is starting', async () => {
  for (const [spec, budgetMs, setting] of [
    [REMOTE, 5000, 'handshakeMs'],
    [scriptedSpec({ startMs: 9000 }), 9000, 'startMs'],
  ] as const) {
    const rig = await FleetRig.ready({ specs: [spec], script: { hello: false } });
    const call = rig.call();
    await rig.pass(4900);
    assert.equal(call.outcome, undefined);
    await rig.pass(budgetMs === 5000 ? 200 : 150);
    const refusal = refusalOf(call);
    if (budgetMs > 5000) {
      assert.equal(refusal.code, 'server-starting');
      assert.equal(refusal.detail.phase, 'handshake');
      assert.match(refusal.message, /phase handshake \(setting startMs\)/);
      assert.equal(refusal.detail.outcome, 'not-executed');
    }
    await rig.pass(budgetMs - 4900);
    assert.equal(rig.state(), 'waiting');
    assert.equal(rig.lives[0]?.stopped, true);
    const lost = rig.facts('server-was-lost')[0];
    assert.equal(lost?.code, 'upstream-timeout');
    assert.equal(lost?.phase, 'handshake');
    assert.match(String(lost?.message), new RegExp(setting));
    assert.equal(rig.lives[0]?.of('notifications/cancelled').length, 0);
    await rig.close();
  }
});

test('a start that never settles ends at the install and start budgets', async () => {
  const spec = scriptedSpec({ installMs: 2000, startMs: 1000 });
  const rig = await FleetRig.ready({ specs: [spec], script: { start: 'hangs', phases: ['install'] } });
  assert.deepEqual([rig.state(), rig.registry.status('scripted')?.phase], ['connecting', 'install']);
  await rig.pass(3100);
  assert.equal(rig.state(), 'waiting');
  assert.match(rig.registry.status('scripted')?.cause ?? '', /phase install within 30\d\d ms; the setting installMs/);
  await rig.close();
});

test('calls to a server that is away are refused at once, with cause and next try', async () => {
  const start = new HubError('upstream-connect', { message: 'connection refused', detail: { phase: 'connect' } });
  const rig = await FleetRig.ready({ specs: [REMOTE], script: { start } });
  const refusal = refusalOf(rig.call());
  assert.equal(refusal.code, 'server-down');
  assert.match(refusal.message, /connection refused/);
  assert.equal(refusal.detail.cause, 'upstream-connect');
  assert.equal(refusal.detail.phase, 'connect');
  assert.ok(Number(refusal.detail.retryAfterMs) > 0);
  await rig.close();
});

// row A14 · guards src/upstream/link/reconnect-backoff.ts
test('an outage of ten minutes ends at most 65 s after the server is well again, without anybody’s help', async () => {
  for (const spec of [REMOTE, scriptedSpec()]) {
    const rig = await FleetRig.ready({
      specs: [spec],
      random: () => 0.99,
      script: { start: new HubError('upstream-connect') },
    });
    await rig.pass(600_000);
    assert.equal(rig.state(), 'waiting');
    rig.script.start = 'ok';
    await rig.pass(65_000);
    assert.equal(rig.state(), 'ready');
    await rig.close();
  }
});

// row B17 · guards src/upstream/link/link.ts
test('a child that fails its pings fifty times over leaves no life behind but its own', async () => {
  const rig = await FleetRig.ready({ specs: [scriptedSpec()], random: () => 0.5 });
  rig.script.pongs = false;
  rig.script.lists = 'first';
  for (let minute = 0; minute < 90 && rig.lives.length < 51; minute += 1) await rig.pass(60_000);
  assert.ok(rig.lives.length >= 51, `${rig.lives.length} lives`);
  assert.ok(
    rig.lives.slice(0, -1).every((life) => life.stopped),
    'every earlier one was stopped',
  );
  await rig.close();
});

// row B18 · guards src/upstream/link/reconnect-backoff.ts
test('an installation that fails is tried again with rests that grow, so that ten minutes hold few of them', async () => {
  const rig = await FleetRig.ready({ random: () => 0, script: { start: new HubError('upstream-spawn') } });
  await rig.pass(600_000);
  assert.ok(rig.lives.length <= 16, `${rig.lives.length} tries`);
  await rig.close();
});

// row B7 · guards src/upstream/link/reconnect-backoff.ts
test('a child that dies at once is started at most eight times in any five minutes', async () => {
  // The worst random values: the shortest delays.
  const rig = await FleetRig.ready({ random: () => 0, script: { start: new HubError('upstream-exit') } });
  const seen: number[] = [];
  for (let second = 0; second < 480; second += 1) {
    seen.push(rig.lives.length);
    await rig.pass(1000);
    const before = seen[second - 299] ?? 0;
    assert.ok(rig.lives.length - before <= 8, `${rig.lives.length - before} starts by second ${second}`);
  }
  assert.ok(rig.lives.length >= 10, 'it never gives up');
  assert.equal(rig.registry.status('scripted')?.crashLoop, rig.lives.length, 'and it is told');
  await rig.close();
});

test('a lost server keeps its last list, its calls end at once, and it comes back by itself', async () => {
  const rig = await FleetRig.ready();
  const call = rig.call();
  rig.life.events.closed(new HubError('upstream-exit', { message: 'exit code 1', detail: { exitCode: 1 } }));
  await settle();
  const refusal = refusalOf(call);
  assert.equal(refusal.code, 'upstream-exit');
  assert.match(refusal.message, /scripted.*exit code 1/);
  assert.deepEqual([refusal.detail.phase, refusal.detail.outcome], ['call', 'unknown']);
  assert.equal(rig.state(), 'waiting');
  assert.equal(rig.registry.status('scripted')?.tools, 1);
  assert.ok(rig.registry.rawListing('scripted'));
  assert.deepEqual(rig.registry.stderrTail('scripted'), ['last words']);
  await rig.pass(1100);
  assert.equal(rig.state(), 'ready');
  assert.equal(rig.lives.length, 2);
  await rig.close();
});

test('a person’s restart is at once, whatever the rest, and forgets the backoff', async () => {
  const rig = await FleetRig.ready({ script: { start: new HubError('upstream-exit') } });
  await rig.pass(300_000);
  rig.script.start = 'ok';
  rig.registry.restart('scripted');
  await settle();
  assert.equal(rig.state(), 'ready');
  const lives = rig.lives.length;
  rig.registry.restart('scripted');
  await settle();
  assert.deepEqual([rig.state(), rig.lives.length], ['ready', lives + 1]);
  assert.equal(rig.lives.at(-2)?.stopped, true);
  await rig.close();
});

// row A15 · guards src/upstream/link/keep-alive.ts
test('one missed ping changes nothing, three in a row reconnect, and the list never shrinks', async () => {
  const rig = await FleetRig.ready();
  await rig.pass(28_000);
  rig.script.pongs = false;
  await rig.pass(8000);
  assert.equal(rig.state(), 'ready');
  rig.script.pongs = true;
  await rig.pass(60_000);
  assert.equal(rig.lives.length, 1);
  rig.script.pongs = false;
  rig.script.lists = 'first';
  let ms = 0;
  for (; rig.lives.length === 1 && ms < 90_000; ms += 500) {
    assert.equal(rig.registry.status('scripted')?.tools, 1);
    await rig.pass(500);
  }
  assert.equal(rig.lives.length, 2);
  assert.equal(rig.facts('server-was-lost')[0]?.code, 'upstream-silent');
  await rig.close();
});

test('a server that answers no ping because it works is not given up', async () => {
  const rig = await FleetRig.ready({ script: { cpuMs: 0 } });
  rig.script.pongs = false;
  for (let second = 0; second < 200; second += 1) {
    rig.script.cpuMs = (rig.script.cpuMs ?? 0) + 900;
    await rig.pass(1000);
  }
  assert.equal(rig.lives.length, 1);
  await rig.close();
});

test('calls that meet a dead server bring the question forward', async () => {
  const rig = await FleetRig.ready({ specs: [REMOTE] });
  rig.script.pongs = false;
  const call = rig.call();
  const id = rig.life.last('tools/call').id as number;
  rig.life.events.failed(id, new HubError('upstream-connect', { message: 'refused' }));
  await settle();
  assert.equal(refusalOf(call).code, 'upstream-connect');
  await rig.pass(2100);
  assert.equal(rig.life.of('ping').length, 1);
  await rig.close();
});

// row A17 · guards src/upstream/link/list-refresh.ts
test('a storm of list_changed is one list each two seconds, also when every list announces the next', async () => {
  const rig = await FleetRig.ready();
  await rig.pass(5000);
  const before = rig.life.of('tools/list').length;
  for (let i = 0; i < 2000; i += 1) {
    rig.life.say({ method: 'notifications/tools/list_changed' });
    if (i % 10 === 0) await rig.pass(50);
  }
  const lists = rig.life.of('tools/list').length - before;
  assert.ok(lists >= 4 && lists <= 6, `${lists} lists in ten seconds`);
  await rig.close();
});

test('a changed limit of lists is a reason to read them again, another is not', async () => {
  const rig = await FleetRig.ready();
  await rig.pass(5000);
  const before = rig.life.of('tools/list').length;
  Object.assign(rig.limits, { callsPerKey: 7 });
  rig.frozen.runtime.ceilings.resize();
  await rig.pass(3000);
  assert.equal(rig.life.of('tools/list').length, before);
  Object.assign(rig.limits, { serverTools: 1 });
  rig.frozen.runtime.ceilings.resize();
  await rig.pass(3000);
  assert.equal(rig.life.of('tools/list').length, before + 1);
  await rig.close();
});

test('a list that fails keeps the last good one', async () => {
  const rig = await FleetRig.ready();
  rig.script.lists = false;
  rig.life.say({ method: 'notifications/tools/list_changed' });
  await rig.pass(9000);
  assert.equal(rig.life.of('tools/list').length, 3);
  assert.deepEqual([rig.state(), rig.registry.status('scripted')?.tools], ['ready', 1]);
  assert.deepEqual(
    rig.listed,
    [rig.listed[0], rig.listed[0]],
    'the list that was not read is reported, with the rows that are known',
  );
  await rig.close();
});

// row A9 · guards src/upstream/connection/connection.ts
test('a forgotten session is renewed once and what was not executed is sent again once', async () => {
  const rig = await FleetRig.ready({ specs: [REMOTE] });
  const calls = [rig.call(), rig.call()];
  const ids = rig.life.of('tools/call').map((one) => one.id as number);
  rig.script.hello = false;
  rig.life.forgotten = true;
  for (const id of ids) rig.life.forget(id);
  await settle();
  assert.equal(rig.life.of('initialize').length, 2);
  assert.deepEqual([rig.life.of('ping').length, rig.life.of('tools/list').length], [1, 2], 'asked once for both');
  const during = rig.call();
  assert.equal(rig.life.of('tools/call').length, 2);
  rig.life.reply(rig.life.last('initialize').id, rig.life.helloResult());
  await settle();
  const sent = rig.life.of('tools/call').map((one) => one.id as number);
  assert.equal(sent.length, 5);
  assert.deepEqual(sent.slice(0, 4).toSorted(), [...ids, ...ids].toSorted());
  rig.life.forgotten = true;
  rig.life.forget(ids[0]);
  await settle();
  rig.life.reply(rig.life.last('initialize').id, rig.life.helloResult());
  await settle();
  assert.equal(refusalOf(calls[0] as never).code, 'upstream-session');
  rig.life.reply(ids[1], { n: 1 });
  rig.life.reply(sent[4], { n: 2 });
  await settle();
  assert.deepEqual([textOf(calls[1] as never), textOf(during)], ['{"n":1}', '{"n":2}']);
  await rig.pass(3000);
  assert.ok(rig.life.of('tools/list').length >= 2, 'a server that forgot us may have other tools');
  await rig.close();
});

// case: SV12b
test('a request that is answered 404 in a good session ends with that, is not sent again, and leaves the session alone', async () => {
  const rig = await FleetRig.ready({ specs: [REMOTE] });
  const [bad, good] = [rig.call(), rig.call()];
  const [badId, goodId] = rig.life.of('tools/call').map((one) => one.id);
  rig.life.forget(badId);
  await settle();
  const refusal = refusalOf(bad);
  assert.deepEqual([refusal.code, refusal.detail.status], ['upstream-http', 404]);
  rig.life.reply(goodId, { n: 1 });
  await settle();
  assert.equal(textOf(good), '{"n":1}');
  assert.deepEqual([rig.life.of('tools/call').length, rig.life.of('initialize').length], [2, 1]);
  for (let i = 0; i < 50; i += 1) {
    const again = rig.call();
    rig.life.forget(rig.life.last('tools/call').id);
    await settle();
    assert.equal(refusalOf(again).code, 'upstream-http');
  }
  assert.equal(rig.life.of('ping').length, 1, 'a session that has just proved good is not asked about each time');
  await rig.close();
});

// case: SV8
test('a server that answers no ping but lists is asked for lists, and keeps its connection', async () => {
  const rig = await FleetRig.ready({ specs: [REMOTE], script: { pongs: false } });
  await rig.pass(600_000);
  assert.deepEqual([rig.state(), rig.lives.length], ['ready', 1]);
  const lists = rig.life.of('tools/list').length;
  assert.ok(lists >= 15 && lists <= 25, `${lists} lists in ten minutes`);
  assert.ok(rig.life.of('ping').length <= 3, `${rig.life.of('ping').length} pings`);
  await rig.close();
});

// case: SV12
test('a server that answers everything with errors is tried in a new session, which takes over when it works', async () => {
  const rig = await FleetRig.ready({ specs: [REMOTE] });
  const old = rig.life;
  await rig.pass(28_000);
  const running = rig.call();
  const runningId = old.last('tools/call').id;
  old.failing = true;
  await rig.pass(3000);
  assert.deepEqual([rig.lives.length, old.stopped, rig.state()], [2, false, 'ready']);
  const next = rig.call();
  assert.equal(rig.life.of('tools/call').length, 1, 'new calls go to the new session');
  old.reply(runningId, { n: 1 });
  rig.life.reply(rig.life.last('tools/call').id, { n: 2 });
  await rig.pass(2000);
  assert.deepEqual([textOf(running), textOf(next), old.stopped], ['{"n":1}', '{"n":2}', true]);
  await rig.close();
});

// case: SV12
test('a server that answers everything with errors in a new session as well is not ready, and says what it answers', async () => {
  const rig = await FleetRig.ready({ specs: [REMOTE] });
  rig.life.failing = true;
  Object.assign(rig.script, { lists: false, pongs: false });
  await rig.pass(60_000);
  assert.notEqual(rig.state(), 'ready');
  assert.match(String(rig.facts('server-was-lost')[0]?.message), /answered 3 pings in a row with an error: .*HTTP 500/);
  Object.assign(rig.script, { lists: true, pongs: true });
  await rig.pass(65_000);
  assert.equal(rig.state(), 'ready');
  await rig.close();
});

test('a renewal that fails ends the connection and every call on it', async () => {
  const rig = await FleetRig.ready({ specs: [REMOTE] });
  const call = rig.call();
  rig.script.hello = false;
  rig.life.forgotten = true;
  rig.life.forget(rig.life.last('tools/call').id);
  await rig.pass(5100);
  assert.equal(rig.lives[0]?.stopped, true);
  assert.ok(['upstream-timeout', 'upstream-silent'].includes(refusalOf(call).code));
  await rig.close();
});

test('pages are read to their end, and an empty, endless or repeated cursor ends', async () => {
  const rig = new FleetRig({ specs: [scriptedSpec()], script: { lists: false }, limits: { listPages: 5 } });
  await settle();
  for (const [page, nextCursor] of ['a', 'b', ''].entries()) {
    const { id, params } = rig.life.last('tools/list');
    assert.equal(params.cursor, [undefined, 'a', 'b'][page]);
    rig.life.reply(id, { tools: [{ name: `t${page}` }], nextCursor });
    await settle();
  }
  assert.deepEqual(rig.listed, ['{"name":"t0"},{"name":"t1"},{"name":"t2"}']);
  for (const cursorOf of [() => 'same', (page: number) => `c${page}`]) {
    rig.life.say({ method: 'notifications/tools/list_changed' });
    await rig.pass(2100);
    let pages = 0;
    const listed = rig.listed.length;
    for (; rig.listed.length === listed && pages < 50; pages += 1) {
      rig.life.reply(rig.life.last('tools/list').id, { tools: [{ name: 'x' }], nextCursor: cursorOf(pages) });
      await settle();
    }
    assert.ok(pages <= 5, `${pages} pages`);
  }
  await rig.close();
});

test('an answer to tools/list that is no list is named, and the server not ready when it answers no ping either', async () => {
  const rig = new FleetRig({ specs: [scriptedSpec()], script: { lists: false } });
  await settle();
  rig.life.reply(rig.life.last('tools/list').id, { tools: { a: 1 } });
  await settle();
  const status = rig.registry.status('scripted');
  assert.deepEqual(
    [status?.state, status?.unread?.map(({ kind, rows }) => [kind, rows])],
    ['ready', [['tool', undefined]]],
  );
  assert.match(String(status?.unread?.[0]?.why), /no array of tools/);
  await rig.close();
  const silent = new FleetRig({ specs: [scriptedSpec()], script: { lists: false, pongs: false } });
  await settle();
  silent.life.reply(silent.life.last('tools/list').id, { tools: { a: 1 } });
  await silent.pass(silent.limits.pingMs + 100);
  assert.deepEqual([silent.state(), silent.registry.status('scripted')?.code], ['waiting', 'upstream-protocol']);
  await silent.close();
  await rig.close();
});

test('a link that is stopped in any phase leaves nothing and starts nothing', async () => {
  const specs: readonly ServerSpec[] = [scriptedSpec()];
  for (const more of [
    {},
    { start: 'hangs' },
    { hello: false },
    { lists: false },
    { start: new HubError('upstream-exit') },
    { stopHangs: true },
  ] as const) {
    const rig = await FleetRig.ready({ specs, script: more });
    const lives = rig.lives.length;
    await rig.close();
    assert.equal(rig.life.stopped, true);
    assert.equal(rig.lives.length, lives);
  }
});

test('calls that fail one after the other do not put off the question whether the server is well', async () => {
  const rig = await FleetRig.ready({ specs: [REMOTE] });
  rig.life.failing = true;
  for (let ms = 0; ms < 4000; ms += 100) {
    rig.call();
    await rig.pass(100);
  }
  assert.equal(rig.lives.length, 2, 'it was asked, and tried in a new session');
  await rig.close();
});

// case: SV12
test('where ping is answered whatever the session, three failed calls in a row have a list asked, which decides', async () => {
  const rig = await FleetRig.ready({ specs: [REMOTE] });
  rig.life.pings = 'always';
  rig.life.forgotten = true;
  for (let call = 0; call < 3; call += 1) {
    rig.call();
    await rig.pass(1000);
  }
  await rig.pass(2000);
  assert.equal(rig.life.of('initialize').length, 2);
  assert.equal(rig.lives.length, 1);
  await rig.close();
});

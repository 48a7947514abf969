// covers: A4, P2, P16
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FleetRig, refusalOf, textOf } from '../../test/support/fleet-rig.ts';
import { scriptedSpec, settle } from '../../test/support/scripted-transport.ts';
import { HubError } from '../model/errors.ts';

const REMOTE = scriptedSpec({
  homeHub: 0,
  transport: { kind: 'http', url: 'http://127.0.0.1:1/mcp', headers: {}, launch: undefined },
});
const GONE = new HubError('upstream-gone', { message: 'reset' });

/** Fails the call that was sent last. */
async function fail(rig: FleetRig, fault: HubError = GONE): Promise<void> {
  const call = rig.call();
  rig.life.events.failed(rig.life.last('tools/call').id as number, fault);
  await settle(1);
  assert.equal(refusalOf(call).code, fault.code);
}

test('a full server refuses its own calls only, at once when the queue is full and at its time when it is not', async () => {
  const other = scriptedSpec({ slug: 'other', name: 'Other' });
  const rig = await FleetRig.ready({ specs: [scriptedSpec({ inFlight: 2 }), other], limits: { serverQueue: 3 } });
  const first = rig.lives[0];
  const inside = [rig.call(), rig.call()];
  const queued = [rig.call(), rig.call(), rig.call()];
  const refused = rig.call();
  const { code, detail } = refusalOf(refused);
  assert.equal(code, 'server-busy');
  assert.equal(detail.outcome, 'not-executed');
  assert.equal(first?.of('tools/call').length, 2);
  const healthy = rig.call({ server: 'other' });
  rig.life.reply(rig.life.last('tools/call').id, {});
  await settle();
  assert.equal(textOf(healthy), '{}');
  first?.reply(first.of('tools/call')[0]?.id, {});
  await settle();
  assert.equal(first?.of('tools/call').length, 3);
  await rig.pass(2050);
  assert.deepEqual(
    queued.map((call) => (call.outcome ? refusalOf(call).detail.setting : 'inside')),
    ['inside', 'serverQueueMs', 'serverQueueMs'],
  );
  assert.equal(rig.registry.status('scripted')?.queued, 0);
  assert.equal(textOf(inside[0] as never), '{}');
  await rig.close();
});

test('a call whose client leaves while it waits for the server to start, or for a place, ends at once and is not sent', async () => {
  const rig = new FleetRig({ specs: [scriptedSpec({ inFlight: 1 })], script: { hello: false } });
  await settle();
  const labels = () =>
    rig.frozen.runtime.waits.table().flatMap(({ label, owner }) => (owner === 'a test' ? [label] : []));
  const early = rig.call();
  assert.deepEqual(labels(), ['link-ready']);
  early.deadline.end('client-gone');
  await settle();
  assert.ok(early.outcome);
  assert.deepEqual(labels(), []);
  await rig.close();

  const full = await FleetRig.ready({ specs: [scriptedSpec({ inFlight: 1 })] });
  const inside = full.call();
  const [queued, next] = [full.call(), full.call()];
  assert.equal(full.registry.status('scripted')?.queued, 2);
  queued.deadline.end('client-gone');
  await settle();
  assert.ok(queued.outcome);
  assert.equal(full.registry.status('scripted')?.queued, 1);
  for (const call of [inside, next]) {
    full.life.reply(full.life.last('tools/call').id, {});
    await settle();
    assert.equal(textOf(call), '{}');
  }
  assert.equal(full.life.of('tools/call').length, 2);
  await full.close();
});

test('one key’s flood leaves the other keys their turn', async () => {
  const rig = await FleetRig.ready({ specs: [scriptedSpec({ inFlight: 1 })] });
  for (let i = 0; i < 100; i += 1) rig.call({ fairKey: 'flood' });
  const quiet = rig.call({ fairKey: 'quiet' });
  for (let i = 0; i < 3; i += 1) {
    rig.life.reply(rig.life.last('tools/call').id, {});
    await settle();
  }
  assert.equal(textOf(quiet), '{}');
  await rig.close();
});

test('five failures in a row open the breaker: calls are refused at once until a background question is answered', async () => {
  const rig = await FleetRig.ready({ specs: [REMOTE] });
  rig.script.pongs = false;
  rig.script.lists = 'first';
  for (let i = 0; i < 5; i += 1) await fail(rig);
  assert.equal(rig.facts('breaker-opened').length, 0, 'it is asked first');
  await rig.pass(5100);
  const sent = rig.life.of('tools/call').length;
  const refusal = refusalOf(rig.call());
  assert.equal(refusal.code, 'breaker-open');
  assert.ok(Number(refusal.detail.retryAfterMs) > 0);
  assert.equal(rig.life.of('tools/call').length, sent);
  assert.equal(rig.facts('breaker-opened').length, 1);
  rig.script.pongs = true;
  rig.script.lists = true;
  await rig.pass(2500);
  assert.equal(rig.facts('breaker-closed').length, 1);
  assert.equal(rig.life.of('tools/call').length, sent, 'no user call was the guinea pig');
  const call = rig.call();
  rig.life.reply(rig.life.last('tools/call').id, {});
  await settle();
  assert.equal(textOf(call), '{}');
  await rig.close();
});

test('an open breaker closes at most 65 s after the server is well, whatever became of earlier questions', async () => {
  const rig = await FleetRig.ready({ specs: [REMOTE], random: () => 0.999, limits: { pingEveryMs: 3_600_000 } });
  rig.script.pongs = false;
  rig.script.lists = 'first';
  for (let i = 0; i < 5; i += 1) await fail(rig, new HubError('upstream-silent'));
  // Probes remain unanswered for minutes.
  await rig.pass(400_000);
  assert.equal(refusalOf(rig.call()).code, 'breaker-open');
  assert.equal(rig.lives.length, 1);
  rig.script.pongs = true;
  await rig.pass(65_000);
  assert.equal(rig.facts('breaker-closed').length, 1);
  await rig.close();
});

test('what is not the server’s fault does not count: its own errors, refusals of ours, clients that leave', async () => {
  const rig = await FleetRig.ready();
  for (let i = 0; i < 30; i += 1) {
    const call = rig.call();
    const id = rig.life.last('tools/call').id;
    if (i % 2 === 0) rig.life.say({ id, error: { code: -32603, message: 'tool broke' } });
    else call.deadline.end('client-gone');
    await settle(1);
  }
  await fail(rig, new HubError('upstream-too-large'));
  assert.equal(rig.facts('breaker-opened').length, 0);
  assert.equal(rig.registry.status('scripted')?.failures, 0);
  await rig.close();
});

test('a new connection closes the breaker', async () => {
  const rig = await FleetRig.ready({ specs: [REMOTE] });
  rig.script.pongs = false;
  rig.script.lists = 'first';
  for (let i = 0; i < 5; i += 1) await fail(rig, new HubError('upstream-connect'));
  rig.registry.restart('scripted');
  await settle();
  assert.equal(rig.facts('breaker-closed').length, 1);
  const call = rig.call();
  rig.life.reply(rig.life.last('tools/call').id, {});
  await settle();
  assert.equal(textOf(call), '{}');
  await rig.close();
});

test('what one call can bring about never opens the breaker of a server that answers a ping', async () => {
  const rig = await FleetRig.ready({ specs: [REMOTE] });
  const faults = [
    ...[400, 404, 408, 413, 422, 429, 500, 501, 502, 503, 504].map((status) => ({ status })),
    ...[502, 503, 504].map((status) => ({ status, operator: { body: '{"jsonrpc":"2.0","error":{}}' } })),
  ].map((detail) => new HubError('upstream-http', { detail }));
  const others = [
    'upstream-protocol',
    'upstream-invalid',
    'upstream-timeout',
    'upstream-gone',
    'upstream-session',
  ] as const;
  for (const fault of [...faults, ...others.map((code) => new HubError(code))])
    for (let i = 0; i < 12; i += 1) await fail(rig, fault);
  await rig.pass(1000);
  assert.equal(rig.facts('breaker-opened').length, 0);
  assert.equal(rig.state(), 'ready');
  await rig.close();
});

test('a limit of one tool opens no breaker, the silence of the server does', async () => {
  for (const [times, opens] of [
    [{ callTimeoutMs: 100 }, false],
    [{ silenceMs: 200 }, false],
    [{}, true],
  ] as const) {
    const rig = await FleetRig.ready({ specs: [REMOTE], limits: { pingEveryMs: 3_600_000 } });
    rig.script.pongs = false;
    rig.script.lists = 'first';
    for (let i = 0; i < 8 && rig.facts('breaker-opened').length === 0; i += 1) {
      const call = rig.call({ times, tool: 'slow' });
      await rig.pass(5200);
      assert.ok(refusalOf(call).code.startsWith('upstream-'));
    }
    assert.equal(rig.facts('breaker-opened').length, opens ? 1 : 0);
    const { state, cause, lastFailure, retryMs } = rig.registry.status('scripted') ?? {};
    assert.equal(state, opens ? 'waiting' : 'ready');
    if (opens) assert.match(cause ?? '', /^circuit breaker open after upstream-silent: /);
    assert.equal(retryMs === undefined, !opens);
    assert.deepEqual(lastFailure?.code, times && 'callTimeoutMs' in times ? 'upstream-timeout' : 'upstream-silent');
    await rig.close();
  }
});

test('a server that asks for a pause gets it, unless it answers a ping', async () => {
  const detail = { status: 503, retryAfterMs: 20_000 };
  const rig = await FleetRig.ready({ specs: [REMOTE], limits: { pingEveryMs: 3_600_000 } });
  await fail(rig, new HubError('upstream-http', { detail }));
  await settle();
  assert.equal(rig.state(), 'ready');
  await rig.pass(3000);
  rig.script.pongs = false;
  await fail(rig, new HubError('upstream-http', { detail }));
  await rig.pass(5100);
  const { code, detail: about } = refusalOf(rig.call());
  assert.deepEqual([code, rig.state()], ['breaker-open', 'waiting']);
  assert.ok(Number(about.retryAfterMs) > 19_000, `${about.retryAfterMs}`);
  rig.script.pongs = true;
  await rig.pass(20_500);
  assert.equal(rig.state(), 'ready');
  await rig.close();
});

test('after three failures in a row a server is not shown as ready until it answers a question', async () => {
  const rig = await FleetRig.ready({ specs: [REMOTE], limits: { pingEveryMs: 3_600_000 } });
  rig.script.pongs = false;
  rig.script.lists = 'first';
  for (let i = 0; i < 3; i += 1) {
    assert.equal(rig.state(), 'ready');
    await fail(rig);
  }
  const { state, cause, code } = rig.registry.status('scripted') ?? {};
  assert.deepEqual([state, code], ['waiting', 'upstream-gone']);
  assert.match(cause ?? '', /^the last 3 calls failed: upstream-gone: /);
  assert.equal(rig.facts('breaker-opened').length, 0);
  rig.script.pongs = true;
  await rig.pass(15_000);
  assert.deepEqual([rig.state(), rig.lives.length], ['ready', 1]);
  await rig.close();
});

test('error replies alone make a server doubtful after three in a row, then after twice as many', async () => {
  const rig = await FleetRig.ready({ specs: [REMOTE], limits: { pingEveryMs: 3_600_000 } });
  const asked: number[] = [];
  for (let i = 1; i <= 12; i += 1) {
    rig.call();
    rig.life.say({ id: rig.life.last('tools/call').id, error: { code: -32600, message: 'no session' } });
    const before = rig.life.of('ping').length;
    await rig.pass(2100);
    if (rig.life.of('ping').length > before) asked.push(i);
  }
  assert.deepEqual(asked, [3, 6, 12]);
  await rig.close();
});

test('a child that stands still is started again within a minute while calls come', async () => {
  const rig = await FleetRig.ready();
  rig.script.pongs = false;
  rig.script.lists = 'first';
  for (let second = 0; second < 45 && rig.lives.length === 1; second += 1) {
    rig.call();
    await rig.pass(1000);
  }
  assert.equal(rig.lives.length, 2);
  await rig.pass(700_000);
  await rig.close();
});

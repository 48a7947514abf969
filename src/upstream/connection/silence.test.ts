// covers: A4
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FleetRig, refusalOf, textOf } from '../../../test/support/fleet-rig.ts';
import { settle } from '../../../test/support/scripted-transport.ts';

// row A23 · guards src/upstream/connection/pending-request.ts
test('a server that shows no sign of life is declared hung at five seconds, with server, phase, time and setting', async () => {
  const rig = await FleetRig.ready({ script: { pongs: false } });
  const call = rig.call();
  await rig.pass(2450);
  assert.equal(rig.life.of('ping').length, 0);
  await rig.pass(100);
  assert.equal(rig.life.of('ping').length, 1);
  await rig.pass(2400);
  assert.equal(call.outcome, undefined);
  await rig.pass(100);
  const { code, message, detail } = refusalOf(call);
  assert.equal(code, 'upstream-silent');
  assert.match(message, /^scripted did not respond for 50\d\d ms in phase call .* silenceMs/);
  assert.equal(detail.server, 'scripted');
  assert.equal(detail.phase, 'call');
  assert.equal(detail.setting, 'silenceMs');
  assert.equal(detail.outcome, 'unknown');
  assert.ok(Number(detail.waitedMs) >= 5000 && Number(detail.waitedMs) <= 5050);
  const id = rig.life.last('tools/call').id as number;
  assert.deepEqual(rig.life.aborted, [id]);
  assert.equal(rig.life.last('notifications/cancelled').params.requestId, id);
  await rig.close();
});

test('one question is shared by all silent calls, and its answer counts for all of them', async () => {
  const rig = await FleetRig.ready();
  const calls = [rig.call(), rig.call(), rig.call()];
  await rig.pass(12_000);
  assert.ok(calls.every((call) => call.outcome === undefined));
  const pings = rig.life.of('ping').length;
  assert.ok(pings >= 3 && pings <= 5, `${pings} pings in 12 s for 3 calls`);
  for (const { id } of rig.life.of('tools/call')) rig.life.reply(id, { ok: id });
  await settle();
  assert.ok(calls.every((call) => textOf(call).includes('ok')));
  await rig.close();
});

// row C14 · guards src/upstream/connection/liveness.ts
test('bytes, progress, stderr and CPU time keep a call alive; without them it ends', async () => {
  for (const sign of ['bytes', 'progress', 'stderr', 'cpu'] as const) {
    const rig = await FleetRig.ready({ script: { pongs: false, cpuMs: sign === 'cpu' ? 0 : undefined } });
    const call = rig.call();
    const id = rig.life.last('tools/call').id as number;
    for (let i = 0; i < 8; i += 1) {
      await rig.pass(2000);
      if (sign === 'bytes') rig.life.events.alive(id);
      if (sign === 'stderr') rig.life.events.alive(undefined);
      if (sign === 'cpu') rig.script.cpuMs = (rig.script.cpuMs ?? 0) + 60;
      if (sign === 'progress')
        rig.life.say({ method: 'notifications/progress', params: { progressToken: id, progress: i } });
    }
    assert.equal(call.outcome, undefined, `${sign} is a sign of life`);
    await rig.pass(10_100);
    assert.equal(refusalOf(call).code, 'upstream-silent', sign);
    await rig.close();
  }
});

test('bytes of another call say nothing about this one', async () => {
  const rig = await FleetRig.ready({ script: { pongs: false } });
  const mute = rig.call();
  const lively = rig.call();
  const id = rig.life.last('tools/call').id as number;
  for (let i = 0; i < 6; i += 1) {
    await rig.pass(1000);
    rig.life.events.alive(id);
  }
  assert.equal(refusalOf(mute).code, 'upstream-silent');
  assert.equal(lively.outcome, undefined);
  rig.life.reply(id, {});
  await settle();
  await rig.close();
});

test('a pong after the cut raises the limit of this server once and says so', async () => {
  const rig = await FleetRig.ready({ script: { pongs: false } });
  const wronged = rig.call();
  await rig.pass(6000);
  assert.equal(refusalOf(wronged).code, 'upstream-silent');
  rig.life.reply(rig.life.last('ping').id, {});
  await settle();
  assert.deepEqual(
    rig.facts('server-silence-raised').map((fact) => fact.silenceMs),
    [60_000],
  );
  assert.equal(rig.registry.status('scripted')?.silenceMs, 60_000);
  const second = rig.call();
  await rig.pass(20_000);
  assert.equal(second.outcome, undefined);
  rig.life.reply(rig.life.last('tools/call').id, {});
  for (const { id } of rig.life.of('ping')) rig.life.reply(id, {});
  await settle();
  assert.equal(rig.facts('server-silence-raised').length, 1);
  assert.equal(textOf(second), '{}');
  await rig.close();
});

test('a tool whose silence limit is short is asked half-way', async () => {
  const rig = await FleetRig.ready({ script: { pongs: false } });
  const call = rig.call({ times: { silenceMs: 1000 } });
  await rig.pass(550);
  assert.equal(rig.life.of('ping').length, 1);
  await rig.pass(500);
  assert.equal(refusalOf(call).code, 'upstream-silent');
  await rig.close();
});

// row A2, C14 · guards src/upstream/connection/pending-request.ts
test('the strict cut and the total end a call whatever signs it shows, each naming its setting', async () => {
  for (const [times, setting] of [
    [{ callTimeoutMs: 7000 }, 'callTimeoutMs'],
    [{ totalMs: 7000 }, 'totalMs'],
  ] as const) {
    const rig = await FleetRig.ready();
    const call = rig.call({ times });
    await rig.pass(6900);
    assert.equal(call.outcome, undefined);
    await rig.pass(200);
    const refusal = refusalOf(call);
    assert.equal(refusal.code, 'upstream-timeout');
    assert.equal(refusal.detail.setting, setting);
    assert.match(refusal.message, new RegExp(setting));
    assert.equal(rig.life.of('notifications/cancelled').length, 1);
    await rig.close();
  }
});

test('a client that goes away is a cancel upstream at once', async () => {
  const rig = await FleetRig.ready();
  const call = rig.call();
  await rig.pass(100);
  call.deadline.end('client-gone');
  await settle();
  assert.equal(refusalOf(call).code, 'client-gone');
  const id = rig.life.last('tools/call').id as number;
  assert.deepEqual(rig.life.aborted, [id]);
  assert.equal(rig.life.last('notifications/cancelled').params.requestId, id);
  await rig.close();
});

// case: SV36
test('calls that end for silence while another may be silent for longer say so, and open no circuit', async () => {
  const rig = await FleetRig.ready({ script: { pongs: false, lists: 'first' }, limits: { pingEveryMs: 3_600_000 } });
  const long = rig.call({ fairKey: 'a', times: { silenceMs: 60_000 } });
  const short = Array.from({ length: 7 }, () => rig.call({ fairKey: 'b' }));
  await rig.pass(16_000);
  for (const call of short) {
    const { code, message, detail } = refusalOf(call);
    assert.deepEqual([code, detail.reason], ['upstream-silent', 'other-call-at-work']);
    assert.match(message, /Another call, which may be silent for 60000 ms, is at work on this server\.$/);
  }
  assert.deepEqual([rig.facts('breaker-opened').length, rig.state(), long.outcome], [0, 'ready', undefined]);
  rig.life.reply(rig.life.of('tools/call')[0]?.id, {});
  await settle();
  assert.equal(textOf(long), '{}');
  await rig.close();
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FleetRig, refusalOf, textOf } from '../../../test/support/fleet-rig.ts';
import { settle } from '../../../test/support/scripted-transport.ts';
import { HubError } from '../../model/errors.ts';

/** Ends the child. */
async function exit(rig: FleetRig, exitCode: number): Promise<void> {
  rig.life.events.closed(new HubError('upstream-exit', { message: 'It ended.', detail: { exitCode } }));
  await settle(6);
}

/** Makes a call that is answered. */
async function serve(rig: FleetRig, fairKey = 'b'): Promise<void> {
  const call = rig.call({ fairKey });
  await settle(6);
  rig.life.reply(rig.life.last('tools/call').id, {});
  await settle();
  assert.equal(textOf(call), '{}');
}

/** Makes a call that ends the child. */
async function kill(rig: FleetRig, fairKey: string): Promise<void> {
  const call = rig.call({ fairKey });
  await settle(6);
  assert.equal(call.outcome, undefined);
  await exit(rig, 1);
  assert.equal(refusalOf(call).code, 'upstream-exit');
}

test('a child that exits with 0 while nothing runs on it sleeps until the next call, however often', async () => {
  const rig = await FleetRig.ready();
  for (let round = 1; round <= 6; round += 1) {
    await exit(rig, 0);
    assert.equal(rig.state(), 'asleep');
    await rig.pass(300_000);
    assert.equal(rig.lives.length, round);
    await serve(rig);
    assert.deepEqual([rig.lives.length, rig.state()], [round + 1, 'ready']);
  }
  assert.equal(rig.registry.status('scripted')?.crashLoop, undefined);
  await rig.close();
});

test('a call starts a server that had served before its rest is over, and waits for it', async () => {
  const rig = await FleetRig.ready();
  for (let round = 0; round < 6; round += 1) {
    await serve(rig);
    await exit(rig, 1);
    assert.equal(rig.state(), 'waiting');
    await serve(rig);
  }
  await rig.close();
});

test('deaths during calls of one key limit that key, by name, for a minute; others are served', async () => {
  const rig = await FleetRig.ready();
  for (let round = 0; round < 3; round += 1) {
    await kill(rig, 'a');
    await serve(rig);
  }
  const refusal = refusalOf(rig.call({ fairKey: 'a' }));
  assert.equal(refusal.code, 'server-key-paused');
  assert.match(refusal.message, /calls with this key crashed scripted/);
  assert.ok(Number(refusal.detail.retryAfterMs) > 55_000);
  await serve(rig);
  await rig.pass(60_500);
  await serve(rig, 'a');
  await rig.close();
});

test('deaths during calls of one key without anybody else’s are no crash loop either', async () => {
  const rig = await FleetRig.ready();
  for (let round = 0; round < 3; round += 1) await kill(rig, 'a');
  await serve(rig);
  await rig.close();
});

test('a child that has served and exits with 0 during the next call limits nobody', async () => {
  const rig = await FleetRig.ready();
  for (let round = 0; round < 5; round += 1) {
    await serve(rig, 'a');
    const call = rig.call({ fairKey: 'a' });
    await exit(rig, 0);
    assert.equal(refusalOf(call).code, 'upstream-exit');
  }
  await serve(rig, 'a');
  await rig.close();
});

test('a server that ends in every call, whoever calls, is in a crash loop', async () => {
  const rig = await FleetRig.ready();
  for (const key of ['a', 'b', 'c', 'd']) {
    await kill(rig, key);
    await rig.pass(rig.registry.status('scripted')?.retryMs ?? 0);
    await settle(6);
    if (rig.state() !== 'ready') break;
  }
  await rig.pass(0);
  assert.ok(rig.facts('server-was-lost').some(({ retryMs }) => Number(retryMs) > 50_000));
  await rig.close();
});

test('a child that dies before it is ready is in a crash loop, and calls are refused at once', async () => {
  const rig = await FleetRig.ready({ script: { hello: false } });
  for (let round = 0; round < 3; round += 1) {
    assert.equal(rig.state(), 'connecting');
    await exit(rig, 0);
    if (round < 2) await rig.pass(rig.registry.status('scripted')?.retryMs ?? 0);
    await settle();
  }
  const { code, detail } = refusalOf(rig.call());
  assert.equal(code, 'server-down');
  assert.ok(Number(detail.retryAfterMs) > 50_000);
  assert.deepEqual([rig.lives.length, rig.registry.status('scripted')?.crashLoop], [3, 3]);
  await rig.close();
});

test('after two deaths within a second of a cancel no cancel is sent any more, and nobody rests for it', async () => {
  const rig = await FleetRig.ready();
  for (let round = 0; round < 4; round += 1) {
    const call = rig.call({ fairKey: 'a' });
    await settle(6);
    call.deadline.end('cancelled');
    await settle();
    const cancels = rig.life.of('notifications/cancelled').length;
    assert.equal(cancels, round < 2 ? 1 : 0);
    if (cancels > 0) await exit(rig, 1);
    await serve(rig);
  }
  assert.equal(rig.facts('cancels-withheld').length, 1);
  assert.equal(rig.registry.status('scripted')?.withholdsCancels, true);
  await rig.close();
});

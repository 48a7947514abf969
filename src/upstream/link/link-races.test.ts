// covers: P15, P16
/**
 * Events at an inconvenient moment: a restart in each phase, a change during the first list, a transport that cannot be
 * created, a long call beside pings.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FleetRig, textOf } from '../../../test/support/fleet-rig.ts';
import { frozenRuntime } from '../../../test/support/frozen-runtime.ts';
import { NOBODY } from '../../../test/support/nobody.ts';
import { ScriptedTransport, script, scriptedSpec, settle } from '../../../test/support/scripted-transport.ts';
import { limitsFrom } from '../../config/limits.ts';
import { HubError } from '../../model/errors.ts';
import { createServerRegistry } from '../registry.ts';

const REMOTE = scriptedSpec({
  transport: { kind: 'http', url: 'http://127.0.0.1:1/mcp', headers: {}, launch: undefined },
  homeHub: 0,
});

test('a restart in any phase starts exactly one new life at once and leaves nothing of the old', async () => {
  for (const stuck of [{ start: 'hangs' }, { hello: false }, { lists: false }, {}] as const) {
    const rig = await FleetRig.ready({ script: stuck });
    const first = rig.life;
    Object.assign(rig.script, script());
    rig.registry.restart('scripted');
    rig.registry.restart('scripted');
    await rig.pass(100);
    assert.equal(rig.lives.length, 2, JSON.stringify(stuck));
    assert.equal(first.stopped, true);
    assert.equal(rig.state(), 'ready', JSON.stringify(stuck));
    // The first connection has ended: what it still sends changes nothing.
    first.events.closed(new HubError('upstream-exit'));
    await rig.pass(1000);
    assert.equal(rig.lives.length, 2);
    await rig.close();
  }
});

test('a restart while the old transport takes its time to stop waits for it and no longer', async () => {
  const rig = await FleetRig.ready({ script: { stopHangs: true }, limits: { childTermMs: 100 } });
  rig.registry.restart('scripted');
  await rig.pass(100);
  assert.equal(rig.lives.length, 1, 'never two at once');
  await rig.pass(400);
  assert.equal(rig.lives.length, 2);
  rig.script.stopHangs = false;
  assert.equal(rig.state(), 'ready');
  await rig.close();
});

test('a list that changes while the first is being read is read again', async () => {
  const rig = await FleetRig.ready({ script: { lists: false } });
  rig.life.say({ method: 'notifications/tools/list_changed' });
  const asked = rig.life.last('tools/list');
  rig.life.reply(asked.id, { tools: [] });
  rig.script.lists = true;
  await rig.pass(2500);
  assert.equal(rig.state(), 'ready');
  assert.match(rig.listed.at(-1) ?? '', /echo/);
  await rig.close();
});

test('a transport that cannot be made is an outage like any other', async () => {
  const { runtime, facts, advanceAsync } = frozenRuntime();
  let made = 0;
  const registry = createServerRegistry({
    ...{ runtime, limits: limitsFrom({}), version: '0', slot: 1, peerSocket: () => '/nowhere', everybody: NOBODY },
    spokenBefore: () => undefined,
    makeTransport(_spec, events) {
      made += 1;
      if (made === 1) throw new HubError('config-invalid', { message: 'no such kind' });
      return new ScriptedTransport(script(), events);
    },
  });
  registry.apply([scriptedSpec()]);
  await settle();
  assert.equal(registry.status('scripted')?.state, 'waiting');
  assert.equal(registry.status('scripted')?.cause, 'no such kind');
  await advanceAsync(1500);
  assert.equal(registry.status('scripted')?.state, 'ready');
  using deadline = runtime.deadline(1000);
  await registry.stop(deadline);
  assert.deepEqual(
    facts.filter((fact) => fact.type === 'task-faulted'),
    [],
  );
});

test('a call that may be silent for minutes is not ended by pings that a busy server does not answer', async () => {
  const rig = await FleetRig.ready({ specs: [REMOTE] });
  rig.script.pongs = false;
  rig.script.lists = 'first';
  const call = rig.call({ times: { silenceMs: 300_000 } });
  await rig.pass(200_000);
  assert.equal(call.outcome, undefined);
  assert.equal(rig.lives.length, 1);
  const id = rig.life.last('tools/call').id;
  rig.life.reply(id, { content: [] });
  await settle();
  assert.equal(textOf(call), '{"content":[]}');
  // Without a pending call it is probed again, and closed.
  await rig.pass(60_000);
  assert.equal(rig.lives.length, 2);
  await rig.close();
});

test('at most so many children start at once; one that installs lets the next go first', async () => {
  const specs = ['a', 'b', 'c', 'd', 'e', 'f'].map((slug) => scriptedSpec({ slug, name: slug, hash: slug }));
  const rig = new FleetRig({ specs, script: { hello: false, phases: ['start'] }, limits: { starting: 4 } });
  await settle();
  const started = () => rig.lives.filter((life) => life.started).length;
  assert.equal(started(), 4);
  void rig.lives[0]?.events.phase('install');
  await settle();
  assert.equal(started(), 5);
  // Its install has finished: it is in the queue again, behind the sixth.
  let hasTurn = false;
  const turn = Promise.resolve(rig.lives[0]?.events.phase('start')).then(() => {
    hasTurn = true;
  });
  const answered = (at: number) =>
    rig.lives[at]?.reply(rig.lives[at]?.last('initialize').id, rig.lives[at]?.helloResult() ?? {});
  answered(1);
  await settle();
  assert.deepEqual([started(), hasTurn], [6, false]);
  answered(2);
  await turn;
  for (const at of [0, 3, 4, 5]) answered(at);
  await settle();
  assert.deepEqual(
    specs.map(({ slug }) => rig.state(slug)),
    specs.map(() => 'ready'),
  );
  await rig.close();
});

test('a hundred first calls start one transport and are all sent once it is ready', async () => {
  const rig = new FleetRig({ specs: [REMOTE], script: { hello: false } });
  await settle();
  const calls = Array.from({ length: 100 }, () => rig.call());
  await rig.pass(100);
  assert.equal(rig.lives.length, 1);
  rig.life.reply(rig.life.last('initialize').id, rig.life.helloResult());
  await settle();
  // Three quarters of the 64 places: what one key holds at most.
  assert.equal(rig.life.of('tools/call').length, 48);
  for (let n = 0; n < 100; n += 1) {
    await settle(1);
    const sent = rig.life.of('tools/call')[n];
    rig.life.reply(sent?.id, { n });
  }
  await settle();
  assert.equal(calls.filter((call) => call.outcome !== undefined).length, 100);
  assert.equal(rig.life.of('tools/call').length, 100);
  await rig.close();
});

// covers: P15
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FleetRig, refusalOf, textOf } from '../../test/support/fleet-rig.ts';
import { scriptedSpec, settle } from '../../test/support/scripted-transport.ts';

// row B16 · guards src/upstream/link/link.ts
test('a hundred calls that come before the first connection start exactly one child and are all answered', async () => {
  const rig = new FleetRig({ script: { hello: false } });
  rig.registry.apply([scriptedSpec({ inFlight: 100 })]);
  // Of a hundred keys, because one alone does not get every place.
  const calls = Array.from({ length: 100 }, (_, at) => rig.call({ fairKey: `k${at}` }));
  await rig.pass(1000);
  assert.equal(rig.lives.length, 1);
  rig.life.reply(rig.life.last('initialize').id, rig.life.helloResult());
  await settle();
  for (const { id } of rig.life.of('tools/call')) rig.life.reply(id, {});
  await settle();
  assert.ok(calls.every((call) => textOf(call) === '{}'));
  assert.equal(rig.lives.length, 1);
  await rig.close();
});

// row B13 · guards src/upstream/link/start-turn.ts
test('children start at most four at a time, in order; remote servers do not stand in that row', async () => {
  const remote = { kind: 'http', url: 'http://127.0.0.1:1/', headers: {}, launch: undefined } as const;
  const specs = Array.from({ length: 20 }, (_, i) =>
    scriptedSpec({ slug: `s${i}`, ...(i >= 10 ? { transport: remote, homeHub: 0 } : {}) }),
  );
  const rig = new FleetRig({ specs, script: { hello: false, phases: ['start'] } });
  await settle();
  assert.equal(rig.lives.filter((life) => life.started).length, 14);
  for (let round = 0; round < 10; round += 1) {
    const starting = rig.lives.filter((life) => life.started && life.of('tools/list').length === 0);
    assert.ok(starting.length <= 14);
    const next = starting[0];
    next?.reply(next.last('initialize').id, next.helloResult());
    await settle();
  }
  assert.equal(rig.lives.filter((life) => life.started).length, 20);
  await rig.close();
});

test('a child that loads keeps its place for ten seconds, one that waits gives it back within a second; each says that it queues', async () => {
  const specs = Array.from({ length: 9 }, (_, i) => scriptedSpec({ slug: `s${i}` }));
  const rig = new FleetRig({ specs, script: { hello: false, phases: ['start'], cpuMs: 0 } });
  const started = () => rig.lives.filter((life) => life.started).length;
  const compute = async (ms: number) => {
    for (let passed = 0; passed < ms; passed += 250) {
      rig.script.cpuMs = (rig.script.cpuMs ?? 0) + 100;
      await rig.pass(250);
    }
  };
  await settle();
  assert.deepEqual(
    [started(), rig.registry.status('s3')?.phase, rig.registry.status('s4')?.phase],
    [4, 'handshake', 'queue'],
  );
  const call = rig.call({ server: 's8' });
  await compute(9500);
  assert.equal(started(), 4);
  const refusal = refusalOf(call);
  assert.deepEqual(
    [refusal.code, refusal.detail.phase, refusal.detail.setting],
    ['server-starting', 'queue', 'starting'],
  );
  assert.match(refusal.message, /s8 waits for its turn to start/);
  await compute(1000);
  assert.equal(started(), 8);
  await rig.pass(1000);
  assert.equal(started(), 9);
  await rig.close();
});

test('a server that installs its package lets others start', async () => {
  const specs = Array.from({ length: 8 }, (_, i) => scriptedSpec({ slug: `s${i}` }));
  const rig = new FleetRig({ specs, script: { hello: false, start: 'hangs', phases: ['install'] } });
  await settle();
  assert.equal(rig.lives.filter((life) => life.started).length, 8);
  await rig.close();
});

test('the same configuration again changes nothing; a changed server is replaced, its calls may finish; a removed one too', async () => {
  const kept = scriptedSpec({ slug: 'kept' });
  const changed = scriptedSpec({ slug: 'changed' });
  const rig = await FleetRig.ready({ specs: [kept, changed] });
  const [keptLife, changedLife] = rig.lives;
  rig.registry.apply([{ ...kept }, { ...changed, times: { ...changed.times, silenceMs: 9000 } }]);
  await settle();
  assert.equal(rig.lives.length, 2);
  {
    using budget = rig.registry.startBudget('changed', 'echo');
    assert.equal(budget.silenceMs, 9000);
  }
  const call = rig.call({ server: 'changed' });
  rig.registry.apply([kept, { ...changed, hash: 'h2' }]);
  await settle();
  assert.equal(changedLife?.stopped, false);
  assert.equal(rig.state('changed'), 'idle', 'never two processes of one server');
  changedLife?.reply(changedLife.last('tools/call').id, { old: true });
  await settle(6);
  assert.equal(textOf(call), '{"old":true}');
  assert.equal(changedLife?.stopped, true);
  assert.deepEqual([rig.state('changed'), rig.lives.length], ['ready', 3]);
  rig.registry.apply([
    { ...changed, hash: 'h2' },
    { ...kept, enabled: false },
  ]);
  await settle(6);
  assert.equal(keptLife?.stopped, true);
  assert.equal(rig.state('kept'), 'disabled');
  assert.equal(refusalOf(rig.call({ server: 'kept' })).code, 'server-disabled');
  assert.equal(refusalOf(rig.call({ server: 'nobody' })).code, 'server-down');
  await rig.close();
});

test('a removed server’s calls end when the drain is over', async () => {
  const rig = await FleetRig.ready();
  const call = rig.call();
  rig.registry.apply([]);
  await rig.pass(24_000);
  assert.equal(call.outcome, undefined);
  await rig.pass(1200);
  assert.equal(refusalOf(call).code, 'upstream-gone');
  assert.equal(rig.life.stopped, true);
  await rig.close();
});

test('a stop ends calls, starts, rests and drains at once', async () => {
  const specs = ['a', 'b', 'c', 'd', 'e', 'f'].map((slug) => scriptedSpec({ slug }));
  const rig = await FleetRig.ready({ specs: [scriptedSpec()] });
  const draining = rig.call();
  rig.script.hello = false;
  rig.registry.apply(specs);
  await settle();
  await rig.close();
  assert.equal(refusalOf(draining).code, 'upstream-gone');
  assert.ok(rig.lives.filter((life) => life.started).every((life) => life.stopped));
});

test('more servers than allowed are named, and the others are served', async () => {
  const rig = new FleetRig({ limits: { servers: 2 } });
  rig.registry.apply(['a', 'b', 'c'].map((slug) => scriptedSpec({ slug })));
  await settle();
  assert.deepEqual([rig.state('a'), rig.state('b'), rig.state('c')], ['ready', 'ready', undefined]);
  assert.equal(rig.facts('task-faulted').length, 1);
  rig.frozen.facts.length = 0;
  await rig.close();
});

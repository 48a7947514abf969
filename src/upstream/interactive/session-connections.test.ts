/**
 * Session connections of a server that asks its users, with a frozen clock and a scripted transport.
 */
// covers: B14
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FleetRig, refusalOf, textOf } from '../../../test/support/fleet-rig.ts';
import { scriptedSpec, settle } from '../../../test/support/scripted-transport.ts';
import { accessOf } from '../../../test/support/small-worlds.ts';
import type { Limits } from '../../config/limits.ts';
import { HubError } from '../../model/errors.ts';
import { type Outcome, Refusal } from '../../model/outcome.ts';
import type { Answer, Asking } from '../../protocol/back-channel.ts';
import type { ConnectionOwner } from '../client-context.ts';

const SPEC = scriptedSpec({ interactive: true });

class Owner implements ConnectionOwner {
  readonly id: string;
  readonly access = accessOf('alice');
  readonly share: string;
  readonly capabilityBits = 4;
  readonly asked: Asking[] = []; // bounded by: one test
  readonly told: string[] = []; // bounded by: one test
  level: string | undefined;
  heard = true;
  uris: string[] = []; // bounded by: one test

  constructor(id: string, share = id) {
    this.id = id;
    this.share = share;
  }
  logLevel(): string | undefined {
    return this.level;
  }
  hasStream(): boolean {
    return this.heard;
  }
  subscriptions(): readonly string[] {
    return this.uris;
  }
  notify(_server: string, method: string, params: Buffer): boolean {
    return this.told.push(`${method} ${params}`) > 0;
  }
  ask: ConnectionOwner['ask'] = async (asking) => {
    this.asked.push(asking);
    return { kind: 'result', json: Buffer.from('{}') };
  };
}

function rigOf(limits: Partial<Limits> = {}): Promise<FleetRig> {
  return FleetRig.ready({ specs: [SPEC], limits });
}

/** Makes a call of the session, which is answered. */
async function callAs(rig: FleetRig, owner: Owner): Promise<void> {
  const running = rig.call({ owner });
  await settle();
  const life = rig.lives.find((one) => one.of('tools/call').length > 0 && !answered.has(one.last('tools/call')));
  assert.ok(life, 'the call has been sent');
  answered.add(life.last('tools/call'));
  life.reply(life.last('tools/call').id, { content: [] });
  await settle();
  assert.match(textOf(running), /content/);
}
const answered = new WeakSet<object>();

const stopped = (rig: FleetRig): boolean[] => rig.lives.map((life) => life.stopped);

test('each session has a connection of its own, which declares what its client declared; the shared one is for the lists', async () => {
  const rig = await rigOf();
  const [alice, bob] = [new Owner('alice'), new Owner('bob')];
  for (const owner of [alice, bob, alice]) await callAs(rig, owner);
  assert.equal(rig.lives.length, 3);
  assert.deepEqual(
    rig.lives.slice(1).map((life) => life.last('initialize').params.capabilities),
    [{ elicitation: {} }, { elicitation: {} }],
  );
  assert.deepEqual(
    rig.lives.map((life) => [life.of('tools/list').length, life.of('tools/call').length]),
    [
      [1, 0],
      [0, 2],
      [0, 1],
    ],
  );
  await rig.close();
});

test('a question reaches the session of its lane only, its answer goes back under the server’s id, and the call’s times stand still', async () => {
  const rig = await rigOf();
  const [alice, bob] = [new Owner('alice'), new Owner('bob')];
  await callAs(rig, bob);
  const running = rig.call({ owner: alice, times: { totalMs: 60_000 } });
  await settle();
  const sessionConnection = rig.life;
  let answer: (outcome: Outcome<Answer>) => void = () => {};
  alice.ask = (asking) => {
    alice.asked.push(asking);
    return new Promise((resolve) => {
      answer = resolve;
    });
  };
  sessionConnection.say({ id: 'q1', method: 'elicitation/create', params: { message: 'sure?' } });
  await rig.pass(300_000);
  assert.deepEqual([alice.asked.length, bob.asked.length, running.outcome], [1, 0, undefined]);
  assert.deepEqual(JSON.parse(String(alice.asked[0]?.params)), {
    message: '[mcphub server "Scripted"] sure?',
    _meta: { 'mcphub/server': 'Scripted' },
  });
  answer({ kind: 'result', json: Buffer.from('{"action":"accept"}') });
  await settle();
  assert.equal(sessionConnection.sent.at(-1)?.text, '{"jsonrpc":"2.0","id":"q1","result":{"action":"accept"}}');
  sessionConnection.reply(sessionConnection.last('tools/call').id, { content: [] });
  await settle();
  assert.match(textOf(running), /content/);
  await rig.close();
});

test('a question ends when the server takes it back and when its call ends; a second one under the same id is refused', async () => {
  const rig = await rigOf();
  const alice = new Owner('alice');
  alice.ask = (asking) => {
    alice.asked.push(asking);
    return new Promise((resolve) => {
      asking.deadline.onEnd(() => resolve(new Refusal('client-silent')));
    });
  };
  const running = rig.call({ owner: alice });
  await settle();
  const sessionConnection = rig.life;
  sessionConnection.say({ id: 1, method: 'sampling/createMessage', params: {} });
  sessionConnection.say({ id: 1, method: 'sampling/createMessage', params: {} });
  assert.match(sessionConnection.sent.at(-1)?.text ?? '', /"id":1,"error".*open/);
  sessionConnection.say({ method: 'notifications/cancelled', params: { requestId: 1 } });
  await settle();
  assert.equal(alice.asked[0]?.deadline.ended, 'cancelled');
  sessionConnection.say({ id: 2, method: 'roots/list' });
  running.deadline.end('cancelled');
  await settle();
  assert.equal(alice.asked[1]?.deadline.ended, 'cancelled');
  assert.match(sessionConnection.sent.at(-1)?.text ?? '', /"id":2,"error"/);
  await rig.close();
});

test('on a shared connection nobody is asked', async () => {
  const rig = await FleetRig.ready();
  const running = rig.call({ owner: new Owner('alice') });
  await settle();
  rig.life.say({ id: 7, method: 'elicitation/create', params: {} });
  assert.match(rig.life.sent.at(-1)?.text ?? '', /"id":7,"error":\{"code":-32601/);
  rig.life.reply(rig.life.last('tools/call').id, {});
  await settle();
  assert.equal(textOf(running), '{}');
  await rig.close();
});

test('a lane goes with its session, after its idle time, and with its server; what listens to updates stays', async () => {
  const rig = await rigOf({ laneIdleMs: 60_000 });
  const [alice, bob, carol] = [new Owner('alice'), new Owner('bob'), new Owner('carol')];
  for (const owner of [alice, bob, carol]) await callAs(rig, owner);
  rig.registry.sessionEnded('alice');
  await settle();
  assert.deepEqual(stopped(rig), [false, true, false, false]);
  carol.uris = ['file:///watched'];
  await rig.pass(90_000);
  assert.deepEqual(stopped(rig), [false, true, true, false]);
  carol.heard = false;
  await rig.pass(90_000);
  assert.deepEqual(stopped(rig), [false, true, true, true], 'it listens to nobody’s updates any more');
  await callAs(rig, bob);
  assert.equal(rig.lives.length, 5);
  rig.registry.apply([]);
  await rig.pass(1000);
  assert.deepEqual(stopped(rig), [true, true, true, true, true]);
  await rig.close();
});

test('a list that changes on a lane is read again on the shared link; whose process said it is told, soon and once', async () => {
  const remote = scriptedSpec({
    interactive: true,
    transport: { kind: 'http', url: 'http://h/', headers: {}, launch: undefined },
  });
  for (const [spec, isTold] of [
    [SPEC, true],
    [remote, false],
  ] as const) {
    const rig = await FleetRig.ready({ specs: [spec] });
    const [alice, bob] = [new Owner('alice'), new Owner('bob')];
    for (const owner of [alice, bob]) await callAs(rig, owner);
    const [shared, first] = rig.lives;
    for (const kind of ['tools', 'tools', 'prompts', 'tools'])
      first?.say({ method: `notifications/${kind}/list_changed` });
    assert.deepEqual(alice.told, [], 'together');
    await rig.pass(150);
    const words = ['notifications/tools/list_changed {}', 'notifications/prompts/list_changed {}'];
    assert.deepEqual([alice.told, bob.told], [isTold ? words : [], []]);
    await rig.pass(3000);
    assert.equal(shared?.of('tools/list').length, 2);
    assert.equal(first?.of('tools/list').length, 0);
    await rig.close();
  }
});

test('more sessions than lanes: the idlest makes place, and where each is at work the newcomer is told', async () => {
  const rig = await rigOf({ lanes: 2 });
  const [alice, bob, carol] = [new Owner('alice'), new Owner('bob'), new Owner('carol')];
  await callAs(rig, alice);
  await rig.pass(10);
  await callAs(rig, bob);
  await callAs(rig, carol);
  assert.deepEqual(stopped(rig), [false, true, false, false]);
  for (const owner of [bob, carol]) rig.call({ owner });
  const refused = refusalOf(rig.call({ owner: alice }));
  assert.deepEqual([refused.code, refused.detail.setting], ['server-busy', 'lanes']);
  await rig.close();
});

test('one key with every lane busy leaves another key its lane, and never closes an idle lane of a key that holds less', async () => {
  const rig = await rigOf({ lanes: 4, lanesPerKey: 3 });
  const bob = new Owner('bob', 'B');
  await callAs(rig, bob);
  const before = rig.lives.length;
  const running = Array.from({ length: 6 }, (_, n) => rig.call({ owner: new Owner(`alice${n}`, 'A') }));
  await settle();
  const refused = running.filter(({ outcome }) => outcome !== undefined);
  assert.equal(refused.length, 4);
  for (const one of refused) assert.equal(refusalOf(one).detail.setting, 'lanesPerKey');
  await callAs(rig, bob);
  assert.equal(rig.lives.length, before + 2, 'the lane of the other key is still open');
  await rig.close();
});

test('the rest of a lane that is lost holds for its key when the lane is closed, and for nobody else', async () => {
  const rig = await rigOf();
  const [alice, bob] = [new Owner('alice'), new Owner('bob')];
  rig.script.hello = false;
  const before = rig.lives.length;
  const starts: number[] = [];
  for (let second = 0; second < 120; second += 1) {
    rig.call({ owner: alice });
    const life = rig.lives.at(-1);
    if (rig.lives.length > before + starts.length) {
      starts.push(second);
      life?.events.closed(new HubError('upstream-exit', { message: 'The port is in use.', detail: { exitCode: 1 } }));
    }
    await rig.pass(1000);
  }
  assert.ok(starts.length <= 6, `${starts.length} starts in two minutes, at ${starts}`);
  const refused = refusalOf(rig.call({ owner: alice }));
  assert.deepEqual([refused.code, Number(refused.detail.retryAfterMs) > 0], ['server-down', true]);
  rig.script.hello = true;
  await callAs(rig, bob);
  await rig.close();
});

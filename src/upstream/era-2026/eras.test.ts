/** The era that a server uses, and the differences of 2026-07-28, with a frozen clock and a scripted transport. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FleetRig, refusalOf, textOf } from '../../../test/support/fleet-rig.ts';
import { type ScriptedTransport, scriptedSpec, settle } from '../../../test/support/scripted-transport.ts';

const MODERN = '2026-07-28';
const DISCOVERED = {
  resultType: 'complete',
  supportedVersions: [MODERN],
  capabilities: { tools: {} },
  serverInfo: { name: 'm', version: '1' },
};
const NOT_IN_MY_DATE = (supported: string[]) => ({ code: -32022, message: 'no', data: { supported } });

/** Answers the newest discover, and the list that follows. */
async function meet(life: ScriptedTransport): Promise<void> {
  life.reply(life.last('server/discover').id, DISCOVERED);
  await settle();
}

async function modernRig(): Promise<FleetRig> {
  const rig = await FleetRig.ready({ specs: [scriptedSpec({ era: '2026' })] });
  await meet(rig.life);
  assert.equal(rig.state(), 'ready');
  return rig;
}

test('a server that answers initialize in the newer era is greeted in it', async () => {
  const rig = await FleetRig.ready({ script: { version: MODERN } });
  assert.equal(rig.life.of('initialize').length, 1);
  assert.equal(rig.life.of('notifications/initialized').length, 0);
  const { params } = rig.life.last('server/discover');
  assert.equal((params._meta as Record<string, unknown>)['io.modelcontextprotocol/protocolVersion'], MODERN);
  await meet(rig.life);
  assert.equal(rig.state(), 'ready');
  await rig.close();
});

test('a server that refuses the version that it offers is asked once more, and not for ever', async () => {
  const rig = await FleetRig.ready({ specs: [scriptedSpec({ era: '2026' })] });
  const { life } = rig;
  const refuse = async (supported: string[]): Promise<void> => {
    life.say({ id: life.last('server/discover').id, error: NOT_IN_MY_DATE(supported) });
    await settle();
  };
  await refuse([MODERN]);
  assert.equal(life.of('server/discover').length, 2);
  await refuse([MODERN]);
  assert.equal(life.of('server/discover').length, 2);
  assert.equal(rig.state(), 'waiting');
  await rig.close();
  const other = await FleetRig.ready({ specs: [scriptedSpec({ era: '2026' })] });
  other.life.say({ id: other.life.last('server/discover').id, error: NOT_IN_MY_DATE(['2025-11-25']) });
  await settle();
  assert.equal(other.lives[0]?.of('server/discover').length, 1, 'it does not offer it');
  await other.close();
});

// finding: SR-A19
test('a list of supported versions is not read where it is no list of versions by its size', async () => {
  const rig = await FleetRig.ready({ specs: [scriptedSpec({ era: '2026' })] });
  rig.life.say({
    id: rig.life.last('server/discover').id,
    error: NOT_IN_MY_DATE([MODERN, 'x'.repeat(20_000)]),
  });
  await settle();
  assert.equal(rig.lives[0]?.of('server/discover').length, 1);
  await rig.close();
});

test('each round has an id of its own; an answer to an earlier one is nobody’s; a cancel names the newest', async () => {
  const rig = await modernRig();
  const { life } = rig;
  const running = rig.call();
  const first = life.last('tools/call');
  const again = async (from: number | undefined): Promise<number | undefined> => {
    life.reply(from, { resultType: 'input_required', requestState: 's' });
    await settle();
    return life.last('tools/call').id;
  };
  const second = await again(first.id);
  assert.notEqual(second, first.id);
  assert.equal(life.last('tools/call').params.requestState, 's');
  life.reply(first.id, { resultType: 'complete', content: [{ type: 'text', text: 'late' }] });
  await settle();
  assert.equal(running.outcome, undefined);
  const third = await again(second);
  life.reply(third, { resultType: 'complete', content: [{ type: 'text', text: 'done' }] });
  await settle();
  assert.match(textOf(running), /done/);
  const gone = rig.call();
  const last = await again(life.last('tools/call').id);
  gone.deadline.end('cancelled');
  await settle();
  assert.equal(refusalOf(gone).code, 'client-gone');
  assert.equal(life.last('notifications/cancelled').params.requestId, last);
  assert.equal(life.aborted.at(-1), last);
  await rig.close();
});

test('a call that is refused for its headers is sent once more when the list has been read, and told when it has not', async () => {
  const rig = await FleetRig.ready({
    specs: [
      scriptedSpec({ era: '2026', transport: { kind: 'http', url: 'http://h/', headers: {}, launch: undefined } }),
    ],
  });
  await meet(rig.life);
  const { life } = rig;
  const refuse = async (): Promise<void> => {
    life.say({ id: life.last('tools/call').id, error: { code: -32020, message: 'Mcp-Param-Zone is missing' } });
    await settle();
  };
  const first = rig.call();
  await refuse();
  assert.equal(first.outcome, undefined);
  await rig.pass(600);
  assert.equal(life.of('tools/list').length, 2);
  assert.equal(life.of('tools/call').length, 2);
  await refuse();
  assert.match(textOf(first), /Mcp-Param-Zone/, 'once, not for ever');
  // This time the list does not come.
  rig.script.lists = false;
  const second = rig.call();
  await refuse();
  await rig.pass(4100);
  assert.match(textOf(second), /Mcp-Param-Zone/);
  assert.equal(life.of('tools/call').length, 3);
  const third = rig.call();
  await refuse();
  third.deadline.end('cancelled');
  await rig.pass(5000);
  assert.equal(life.of('tools/call').length, 4, 'nobody waits for it any more');
  await rig.close();
});

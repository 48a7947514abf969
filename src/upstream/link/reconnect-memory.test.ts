import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { FleetRig } from '../../../test/support/fleet-rig.ts';
import { scriptedSpec, settle } from '../../../test/support/scripted-transport.ts';
import { HubError } from '../../model/errors.ts';

const TOOLS = Array.from({ length: 200 }, (_, at) => ({
  name: `tool-${at}`,
  description: 'x'.repeat(500),
  inputSchema: { type: 'object', properties: { text: { type: 'string' } } },
}));
/** A generation of these tools is about 150 KB. */
const GROWN_BYTES = 3 * 2 ** 20;

function heapBytes(): number {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  collect();
  collect();
  return process.memoryUsage().heapUsed;
}

// row A12 · guards src/upstream/registry.ts, src/upstream/link/link.ts
test('a thousand reconnections of a server with 200 tools keep no generation of them', {
  timeout: 120_000,
}, async () => {
  const rig = await FleetRig.ready({ specs: [scriptedSpec()], random: () => 0, script: { tools: TOOLS } });
  const cycle = async (): Promise<void> => {
    rig.life.events.closed(new HubError('upstream-gone'));
    await settle();
    rig.registry.restart('scripted');
    await settle();
    assert.equal(rig.state(), 'ready');
    // The rig keeps everything; the registry must not.
    rig.lives.splice(0, rig.lives.length - 1);
    rig.listed.length = 0;
    rig.frozen.facts.length = 0;
  };
  for (let turn = 0; turn < 200; turn += 1) await cycle();
  const from = heapBytes();
  for (let turn = 0; turn < 1000; turn += 1) await cycle();
  const grown = heapBytes() - from;
  assert.ok(grown < GROWN_BYTES, `${Math.round(grown / 1024)} KB more after a thousand`);
  await rig.close();
});

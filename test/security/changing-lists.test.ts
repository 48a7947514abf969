/**
 * A server whose long lists change all the time does not stall the worker: the lists are read, named, sent and kept a
 * part in each turn of the loop.
 */
// runs: alone
// covers: P11
import { test } from 'node:test';
import { CpuSpeed } from '../support/cpu-speed.ts';
import { startHub, until } from '../support/hub.ts';
import { Client, isResult } from '../support/load.ts';
import { measured, scaled } from '../support/measured.ts';
import { TurnRecorder } from '../support/turn-recorder.ts';

const SCRIPT = new URL('../support/hostile-server.ts', import.meta.url).pathname;
/** The hub waits longer before it reads a list again that has changed more often. */
const CHANGES = scaled({ ci: 3, long: 8 });
const LIST_BYTES = 4_000_000;
/** On the machine that gates are set on; what is above 10 is garbage collection. */
const CI_MS = 30;
const REST_MS = 2000;
const CHANGED = '{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}';

// finding: SR-M6
test(`a list of ${LIST_BYTES / 1e6} MB that changes ${CHANGES} times does not stall the worker`, async () => {
  using turns = new TurnRecorder();
  await using hub = await startHub({
    config: { mcpServers: { h: { command: process.execPath, args: [SCRIPT, '2025'] } } },
    env: turns.env,
  });
  const client = new Client(hub);
  await until(async () => isResult(await client.call('h_well')), 30_000, 'the server');
  await client.call('h_list', { size: LIST_BYTES });
  const listed = (): number => hub.lines.filter(({ event }) => event === 'server-listed').length;
  turns.begin();
  for (let change = 0; change < CHANGES; change += 1) {
    const before = listed();
    await client.call('h_flood', { bytes: Buffer.from(CHANGED).toString('base64'), times: 1, to: 'stdout' });
    await until(() => listed() > before, 20_000, 'the list');
  }
  // Control keeps and publishes the last one behind it.
  await new Promise((done) => setTimeout(done, REST_MS));
  const values = { worker: turns.longestMs('hub'), control: turns.longestMs('control') };
  await until(async () => (await client.list()).text.includes('h_tool_4000'), 10_000, 'the long list');
  client.close();
  const speed = new CpuSpeed();
  measured(
    ...Object.entries(values).map(([process, value]) => ({
      ...{
        promise: 'P11',
        what: `longest turn of the ${process}'s loop while a list of ${LIST_BYTES / 1e6} MB changes`,
      },
      ...{ value, unit: 'ms CPU', strict: 10, ci: Math.round(speed.gate(CI_MS)) },
    })),
  );
});

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
/** With the garbage collections of the engine, on the machine that gates are set on. */
const CI_MS = 30;
const STRICT_MS = 25;
/** Without them, in the worker. Control, which answers no calls, stores the list in one transaction. */
const STRICT_OWN_MS = 10;
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
  const worker = { ms: turns.longestMs('hub'), ownMs: turns.longestOwnMs('hub') };
  const controlMs = turns.longestMs('control');
  await until(async () => (await client.list()).text.includes('h_tool_4000'), 10_000, 'the long list');
  client.close();
  const speed = new CpuSpeed();
  const figure = { promise: 'P11', unit: 'ms CPU', ci: Math.round(speed.gate(CI_MS)) };
  const what = (process: string) =>
    `longest turn of the ${process}'s loop while a list of ${LIST_BYTES / 1e6} MB changes`;
  measured(
    { ...figure, what: what('worker'), value: worker.ms, strict: STRICT_MS },
    { ...figure, what: `${what('worker')}, without garbage collection`, value: worker.ownMs, strict: STRICT_OWN_MS },
    { ...figure, what: what('control'), value: controlMs, strict: STRICT_MS },
  );
});

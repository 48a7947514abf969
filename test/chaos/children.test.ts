/**
 * Many children of one real hub: a herd that starts cold, servers that are all dead, and a hub that is killed with its
 * children alive.
 * Does not: look at one child's pipes and families; those stand beside the code.
 */
// runs: alone
// covers: P9, P15
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { environOf, isAlive, type RunningHub, startHub, statusOf, tryKill, until } from '../support/hub.ts';
import { Client, isResult, slowness, stdioServer } from '../support/load.ts';
import { measured, scaled } from '../support/measured.ts';
import { isUnharmed } from '../support/unharmed.ts';

/** A server that costs CPU before it can speak, and writes down when it begins and when it is there. */
const COLD_SERVER = `
  const { appendFileSync } = require('node:fs');
  const [journal, ms] = process.argv.slice(2);
  appendFileSync(journal, 'begin\\n');
  while (process.cpuUsage().user < Number(ms) * 1000);
  const answers = {
    initialize: ({ protocolVersion }) => ({ protocolVersion, capabilities: { tools: {} }, serverInfo: { name: 'cold', version: '1' } }),
    'tools/list': () => ({ tools: [{ name: 'echo', inputSchema: { type: 'object' } }] }),
    'tools/call': (params) => ({ content: [{ type: 'text', text: params.arguments.text }] }),
  };
  let rest = '';
  process.stdin.on('data', (chunk) => {
    const lines = (rest + chunk).split('\\n');
    rest = lines.pop();
    for (const line of lines) {
      const { id, method, params } = JSON.parse(line);
      if (method === 'initialize') appendFileSync(journal, 'there\\n');
      if (id !== undefined) console.log(JSON.stringify({ jsonrpc: '2.0', id, result: (answers[method] ?? (() => ({})))(params) }));
    }
  });
  process.stdin.on('end', () => process.exit(0));
`;

/** Packages that install at once and start slowly, under the name of the runner that the hub knows. */
class ColdPackages implements Disposable {
  readonly directory = mkdtempSync(join(tmpdir(), 'mcphub-cold-'));
  readonly #journal = join(this.directory, 'journal');

  constructor(cpuMs: number) {
    const server = join(this.directory, 'cold.cjs');
    writeFileSync(server, COLD_SERVER);
    writeFileSync(this.#journal, '');
    const script = `#!/bin/sh
case "$*" in
  *"-- node -e 0") exit 0;;
esac
"${process.execPath}" "${server}" "${this.#journal}" ${cpuMs}
`;
    writeFileSync(join(this.directory, 'npx'), script, { mode: 0o755 });
  }

  server(at: number): object {
    return { command: join(this.directory, 'npx'), args: ['-y', `cold-${at}@1.0.0`], env: { HOME: this.directory } };
  }

  /** Most that had begun and were not there yet. */
  mostAtOnce(): number {
    let now = 0;
    let most = 0;
    for (const line of readFileSync(this.#journal, 'utf8').split('\n')) {
      if (line === 'begin') now += 1;
      if (line === 'there') now -= 1;
      most = Math.max(most, now);
    }
    return most;
  }

  [Symbol.dispose](): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}

async function statesOf(hub: RunningHub): Promise<{ name: string; state: string }[]> {
  const answer = await fetch(`${hub.url}/api/status`, { headers: { authorization: `Bearer ${hub.key}` } });
  return ((await answer.json()) as { servers: { name: string; state: string }[] }).servers;
}

/** Living children of hub processes: pids whose mark names a hub and a server. */
function serversOf(hub: RunningHub): number[] {
  return hub.descendants().filter((pid) => environOf(pid).MCPHUB_PROCESS === undefined);
}

// row B13 · guards src/upstream/link/start-turn.ts
test('a herd of packages that start cold: four at a time, the hub ready at once, and all are connected', {
  timeout: 600_000,
}, async () => {
  const herd = scaled({ ci: 16, long: 100 });
  using packages = new ColdPackages(scaled({ ci: 300, long: 2000 }));
  const slowBefore = await slowness();
  const servers = Object.fromEntries(Array.from({ length: herd }, (_, at) => [`cold${at}`, packages.server(at)]));
  await using hub = await startHub({ config: { mcpServers: servers }, noWait: true });
  const readyMs = await until(async () => (await statusOf(`${hub.url}/readyz`)) === 200, 60_000, 'ready');
  const slow = Math.max(slowBefore, await slowness());
  measured({ promise: 'P15', what: 'ready, cold packages', value: readyMs, unit: 'ms', strict: 2000, ci: 4020 * slow });
  await until(
    async () => (await statesOf(hub)).every(({ state }) => state === 'ready'),
    scaled({ ci: 120_000, long: 500_000 }),
    'all are connected',
  );
  measured({
    promise: 'P15',
    what: 'most children that start at once',
    value: packages.mostAtOnce(),
    unit: 'children',
    strict: 4,
  });
  const client = new Client(hub);
  for (const at of [0, herd - 1]) assert.ok(isResult(await client.call(`cold${at}_echo`, { text: 'x' })), `cold${at}`);
  client.close();
  await isUnharmed(hub, 'cold0_echo');
});

// row B5, B6 · guards src/supervisor/process-instance.ts
test('a hub is killed with twenty children, some of them out of its reach: none of them is left', {
  timeout: 240_000,
}, async () => {
  const names = Array.from({ length: 20 }, (_, at) => `s${at}`);
  const servers = Object.fromEntries(names.map((name, at) => [name, stdioServer(at < 3 ? 'setsid' : 'normal')]));
  await using hub = await startHub({ config: { mcpServers: servers } });
  for (let round = 0; round < scaled({ ci: 1, long: 10 }); round += 1) {
    const client = new Client(hub);
    for (const name of names)
      await until(async () => isResult(await client.call(`${name}_echo`, { text: 'x' })), 60_000, name);
    client.close();
    const before = serversOf(hub);
    assert.ok(before.length >= 23, `${before.length} processes`);
    tryKill(hub.processes().hub?.[0] ?? 0);
    const goneMs = await until(() => !before.some(isAlive), 15_000, `the end of ${before.filter(isAlive)}`);
    measured({ promise: 'P9', what: 'children of a killed hub gone', value: goneMs, unit: 'ms', strict: 10_000 });
  }
  const again = new Client(hub);
  await until(async () => isResult(await again.call('s19_echo', { text: 'x' })), 60_000, 'the next hub’s');
  again.close();
  await isUnharmed(hub, 's19_echo');
});

/**
 * The configuration is taken again and again under load, and one of fifty servers is another each time: the others
 * notice nothing.
 */
// runs: in pairs, about 15 s
// covers: P2
import assert from 'node:assert/strict';
import { renameSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { startFaultHttp } from '../support/fault-http.ts';
import { delay, environOf, isAlive, type RunningHub, startHub, until } from '../support/hub.ts';
import { Client, isResult, stdioServer } from '../support/load.ts';
import { scaled } from '../support/measured.ts';
import { isUnharmed } from '../support/unharmed.ts';

const CHILDREN = scaled({ ci: 9, long: 49 });
const REMOTES = 49 - CHILDREN;

/** Pid of the child of each server. */
function childOf(hub: RunningHub): Map<string, number> {
  const found = new Map<string, number>();
  for (const pid of hub.descendants()) {
    const { MCPHUB_MARK: mark = '', MCPHUB_PROCESS: role } = environOf(pid);
    const server = /\.(child\d+|changing)\.\w+$/.exec(mark)?.[1];
    if (role === undefined && server !== undefined) found.set(server, pid);
  }
  return found;
}

async function revisionOf(hub: RunningHub): Promise<number> {
  const answer = await fetch(`${hub.url}/api/status`, { headers: { authorization: `Bearer ${hub.key}` } });
  return ((await answer.json()) as { revision: number }).revision;
}

// row G10 · guards src/upstream/registry.ts
test('one of fifty servers changes at each of many reloads: the others keep their processes, sessions and calls', {
  timeout: 900_000,
}, async () => {
  const remote = await startFaultHttp();
  try {
    const kept = Object.fromEntries([
      ...Array.from({ length: CHILDREN }, (_, at) => [`child${at}`, stdioServer()]),
      ...Array.from({ length: REMOTES }, (_, at) => [`remote${at}`, { url: `${remote.url}?server=${at}` }]),
    ]);
    const config = (round: number) => ({ mcpServers: { ...kept, changing: stdioServer('normal', String(round)) } });
    await using hub = await startHub({ config: config(0) });
    const names = Object.keys(kept);
    const first = new Client(hub);
    for (const name of [...names, 'changing'])
      await until(async () => isResult(await first.call(`${name}_echo`, { text: 'x' })), 60_000, name);
    const before = childOf(hub);
    assert.equal(before.size, CHILDREN + 1);
    const sessions = remote.seen.byMethod.initialize;

    const failed: string[] = [];
    let answered = 0;
    let going = true;
    const callers = Array.from({ length: 4 }, async (_, from) => {
      const client = new Client(hub);
      for (let at = from; going; at += 1) {
        const name = names[at % names.length];
        // Long enough that a reload falls within some.
        const answer = await client.call(at % 10 === 0 ? `${name}_sleep` : `${name}_echo`, { text: 'x', ms: 300 });
        if (isResult(answer)) answered += 1;
        else failed.push(`${name}: ${answer.status} ${answer.fault ?? ''} ${answer.text.slice(0, 300)}`);
        await delay(5);
      }
      client.close();
    });
    const rounds = scaled({ ci: 30, long: 100 });
    for (let round = 1; round <= rounds; round += 1) {
      const revision = await revisionOf(hub);
      writeFileSync(`${hub.configFile}.new`, JSON.stringify(config(round)));
      renameSync(`${hub.configFile}.new`, hub.configFile);
      hub.child.kill('SIGHUP');
      await until(async () => (await revisionOf(hub)) > revision, 20_000, `reload ${round}`);
    }
    going = false;
    await Promise.all(callers);
    assert.deepEqual(failed, [], `of ${answered}`);
    assert.ok(answered > rounds * 2, `${answered} calls`);
    await until(async () => isResult(await first.call('changing_echo', { text: 'x' })), 60_000, 'the changed one');
    first.close();
    const after = childOf(hub);
    for (const [name, pid] of before) if (name !== 'changing') assert.equal(after.get(name), pid, name);
    assert.notEqual(after.get('changing'), before.get('changing'));
    await until(() => !isAlive(before.get('changing') ?? 0), 10_000, 'the end of the old one');
    await until(() => childOf(hub).size === CHILDREN + 1 && serversOf(hub) === CHILDREN + 1, 30_000, 'no doubles');
    assert.equal(remote.seen.byMethod.initialize, sessions, 'no server was met again');
    await isUnharmed(hub, 'child0_echo');
  } finally {
    await remote.close();
  }
});

/** Living processes of servers, doubles counted. */
function serversOf(hub: RunningHub): number {
  return hub.descendants().filter((pid) => environOf(pid).MCPHUB_PROCESS === undefined).length;
}

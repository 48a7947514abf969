/**
 * The disk under a real hub: full while its log cannot be written either, and control killed while keys are made.
 */
// covers: P19
// runs: in pairs, about 40 s
import assert from 'node:assert/strict';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { delay, type RunningHub, startHub, statusOf, tryKill, until } from '../support/hub.ts';
import { Client, isResult, stdioServer } from '../support/load.ts';
import { measured, scaled } from '../support/measured.ts';
import { SmallDisk } from '../support/small-disk.ts';
import { isUnharmed } from '../support/unharmed.ts';

const ONE = { mcpServers: { one: stdioServer() } };

interface ClientQuestions {
  readonly status: number;
  readonly ms: number;
  // biome-ignore lint/suspicious/noExplicitAny: answers are looked into by the tests
  readonly body: any;
}

async function ask(hub: RunningHub, method: string, path: string, body?: object): Promise<ClientQuestions> {
  const bornMs = performance.now();
  const headers = { authorization: `Bearer ${hub.key}`, 'content-type': 'application/json' };
  const sent = body ? { method, headers, body: JSON.stringify(body) } : { method, headers };
  try {
    const answer = await fetch(hub.url + path, { ...sent, signal: AbortSignal.timeout(10_000) });
    const text = await answer.text();
    return { status: answer.status, ms: performance.now() - bornMs, body: text === '' ? undefined : JSON.parse(text) };
  } catch {
    return { status: 0, ms: performance.now() - bornMs, body: undefined };
  }
}

const makeKey = (hub: RunningHub, name: string): Promise<ClientQuestions> =>
  ask(hub, 'POST', '/api/keys', { user: 'ann', name, role: 'owner' });

async function serves(hub: RunningHub): Promise<void> {
  const client = new Client(hub);
  await until(async () => isResult(await client.call('one_echo', { text: 'x' })), 60_000, 'the server');
  client.close();
}

/** Calls without a pause; what failed is what `stop` gives back. */
function calling(hub: RunningHub): { stop(): Promise<{ calls: number; failed: string[] }> } {
  const failed: string[] = [];
  let calls = 0;
  let going = true;
  const workers = Array.from({ length: 3 }, async () => {
    const client = new Client(hub);
    while (going) {
      const answer = await client.call('one_echo', { text: 'x' });
      calls += 1;
      if (!isResult(answer)) failed.push(`${answer.status} ${answer.fault ?? ''} ${answer.text.slice(0, 200)}`);
      await delay(5);
    }
    client.close();
  });
  return {
    async stop() {
      going = false;
      await Promise.all(workers);
      return { calls, failed };
    },
  };
}

// row E8 · guards src/store/store.ts, src/telemetry/sink.ts
test('the disk is full, for data and log: calls go on, writing is refused in words, and nothing is lost', {
  timeout: 200_000,
  // In CI its absence is a failure.
  skip: process.getuid?.() !== 0 && !process.env.CI && 'only root can mount a small disk',
}, async () => {
  using disk = new SmallDisk();
  const log = openSync('/dev/full', 'w');
  try {
    const options = { config: ONE, dataDir: disk.path };
    let key = '';
    const kept: string[] = [];
    {
      await using hub = await startHub({ ...options, stdout: log });
      key = hub.key;
      await serves(hub);
      const before = await makeKey(hub, 'before');
      assert.equal(before.status, 201, JSON.stringify(before.body));
      kept.push(before.body.secret);
      const work = calling(hub);
      for (let round = 0; round < scaled({ ci: 2, long: 20 }); round += 1) {
        disk.fill();
        // The file of the database still has some room of its own.
        let refused: ClientQuestions | undefined;
        for (let at = 0; at < 400 && !refused; at += 1) {
          const made = await makeKey(hub, `full-${round}-${at}`);
          if (made.status === 201) kept.push(made.body.secret);
          else refused = made;
        }
        assert.equal(refused?.body?.error?.code, 'store-failed', JSON.stringify(refused));
        measured({ promise: 'P19', what: 'refusal of a full disk', value: refused?.ms ?? 0, unit: 'ms', strict: 2000 });
        assert.equal((await ask(hub, 'GET', '/api/status')).body.store.state, 'failing');
        assert.equal(await statusOf(`${hub.url}/readyz`), 200);
        await delay(1000);
        disk.empty();
        await until(async () => (await makeKey(hub, `after-${round}`)).status === 201, 10_000, 'writing again');
        assert.equal((await ask(hub, 'GET', '/api/status')).body.store.state, 'ok');
      }
      const { calls, failed } = await work.stop();
      assert.deepEqual(failed, [], `of ${calls}`);
      assert.ok(calls > 200, `${calls} calls`);
      await isUnharmed(hub, 'one_echo');
      assert.equal(await hub.stop(), 0);
    }
    await using hub = await startHub({ ...options, key });
    await serves(hub);
    await until(async () => (await ask(hub, 'GET', '/api/status')).status === 200, 60_000, 'control');
    for (const secret of kept) {
      const answer = await fetch(`${hub.url}/api/status`, { headers: { authorization: `Bearer ${secret}` } });
      assert.equal(answer.status, 200, 'a key that was acknowledged');
      await answer.arrayBuffer();
    }
  } finally {
    closeSync(log);
  }
});

// row E9 · guards src/store/_sqlite.ts
test('control is killed while keys are made: each that was acknowledged is there, and calls do not notice', {
  // The rests between deaths in a row are part of it.
  timeout: scaled({ ci: 600_000, long: 4_000_000 }),
}, async () => {
  await using hub = await startHub({ config: ONE });
  await serves(hub);
  const work = calling(hub);
  const acknowledged: string[] = [];
  // More within a minute would be a crash loop, and rests.
  const kills = scaled({ ci: 4, long: 200 });
  for (let at = 0; at < kills; at += 1) {
    await until(async () => (await makeKey(hub, `first-${at}`)).status === 201, 60_000, 'control');
    const moment = Math.floor(Math.random() * 20);
    for (let made = 0; ; made += 1) {
      if (made === moment) for (const pid of hub.processes().control ?? []) tryKill(pid);
      const one = await makeKey(hub, `k${at}-${made}`);
      if (one.status !== 201) break;
      acknowledged.push(one.body.key.id);
    }
  }
  await until(async () => (await ask(hub, 'GET', '/api/keys')).status === 200, 60_000, 'control');
  const there = new Set((await ask(hub, 'GET', '/api/keys')).body.keys.map(({ id }: { id: string }) => id));
  assert.deepEqual(
    acknowledged.filter((id) => !there.has(id)),
    [],
    `of ${acknowledged.length}`,
  );
  const { calls, failed } = await work.stop();
  assert.deepEqual(failed, [], `of ${calls}`);
  await isUnharmed(hub, 'one_echo');
  assert.equal(await hub.stop(), 0);
  using database = new DatabaseSync(join(hub.dataDir, 'mcphub.db'), { readOnly: true });
  assert.deepEqual({ ...database.prepare('pragma integrity_check').get() }, { integrity_check: 'ok' });
});

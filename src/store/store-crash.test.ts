/**
 * kill -9 at random moments. Started with the argument `write`, this file writes keys as fast as it can and prints the
 * acknowledged ids.
 */
// covers: P19
// runs: about 25 s
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { scaled } from '../../test/support/measured.ts';
import { limitsFrom } from '../config/limits.ts';
import { createRuntime } from '../runtime/runtime.ts';
import { addKey, listKeys } from './keys.ts';
import { openStore } from './store.ts';

const [mode = '', dir = '', round = ''] = process.argv.slice(2);
const runtime = createRuntime();
const limits = limitsFrom({});

async function writeForEver(): Promise<void> {
  const store = await openStore({ runtime, limits, dir }, runtime.deadline(5000));
  for (let at = 0; ; at += 1) {
    const id = `${round}-${at}`;
    using deadline = runtime.deadline(5000);
    const key = {
      id,
      hash: `hash ${id}`,
      family: id,
      userName: `user ${at % 7}`,
      role: 'member',
      name: 'crash',
    } as const;
    const rest = { prefix: 'mcphub_00000000', last4: '0000', groups: ['a'], createdAtMs: at, expiresAtMs: undefined };
    await addKey(store, { ...key, ...rest }, { actor: 'test', newUserId: `user ${id}` }, deadline);
    writeSync(1, `${id}\n`);
  }
}

/** Returns the ids that a child process acknowledged before it was killed. */
async function acknowledgedUntilKilled(folder: string, number: number): Promise<string[]> {
  const child = spawn(process.execPath, [import.meta.filename, 'write', folder, String(number)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said = '';
  const moment = Math.floor(Math.random() * 60);
  child.stdout.on('data', (chunk: Buffer) => {
    said += chunk.toString();
    if (said.split('\n').length > moment) child.kill('SIGKILL');
  });
  await once(child, 'close');
  // An incomplete line was not acknowledged.
  return said.split('\n').slice(0, -1);
}

if (mode === 'write') await writeForEver();
else {
  // Two tests with about half a second for each kill.
  // row E9 · guards src/store/_sqlite.ts
  test('kill -9 at random moments loses no acknowledged key', () => surviveKills(scaled({ ci: 18, long: 200 })));
  test('the database opens after each kill -9 and accepts new keys', () => surviveKills(7));
}

async function surviveKills(kills: number): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'mcphub-store-'));
  try {
    const acknowledged: string[] = [];
    for (let at = 0; at < kills; at += 1) acknowledged.push(...(await acknowledgedUntilKilled(folder, at)));
    const store = await openStore({ runtime, limits, dir: folder }, runtime.deadline(5000));
    const kept = new Set((await listKeys(store, runtime.deadline(5000))).map((key) => key.id));
    await store.close(runtime.deadline(1000));
    assert.ok(acknowledged.length >= kills, `only ${acknowledged.length} were acknowledged`);
    assert.deepEqual(
      acknowledged.filter((id) => !kept.has(id)),
      [],
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

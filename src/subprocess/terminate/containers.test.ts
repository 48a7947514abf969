import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { createRuntime } from '../../runtime/runtime.ts';
import { sameUser } from '../spawn/isolation.ts';
import { endForgotten } from './containers.ts';

const OWN = 'aaaaaaaaaaaa.1.hub-1.000001.box';

/** Creates a container tool whose `ps` and `inspect` are these shell commands. Returns the list of its calls. */
async function afterForgotten(t: TestContext, ps: string, inspect: string): Promise<{ calls: string[]; ms: number }> {
  const cwd = mkdtempSync(join(tmpdir(), 'mcphub-containers-'));
  t.after(() => rmSync(cwd, { recursive: true, force: true }));
  const file = join(cwd, 'docker');
  const log = join(cwd, 'log');
  writeFileSync(log, '');
  writeFileSync(file, `#!/bin/sh\necho "$*" >> ${log}\ncase $1 in ps) ${ps};; inspect) ${inspect};; esac\n`, {
    mode: 0o755,
  });
  const runtime = createRuntime();
  using deadline = runtime.deadline(30_000);
  const isolation = sameUser([]);
  const plan = { runtime, owner: 'box', file, cwd, env: { PATH: process.env.PATH ?? '' }, isolation };
  const run = { before: [], at: 0, isRemoved: true };
  const sinceMs = performance.now();
  await endForgotten(plan, { run, args: [], mark: `${OWN}.new`, scope: 'f'.repeat(32) }, deadline);
  const ms = performance.now() - sinceMs;
  return { calls: readFileSync(log, 'utf8').trim().split('\n'), ms };
}

// case: SV34
test('a container whose label is not of this data directory is left alone', async (t) => {
  const foreign = ['foo', '<no value>', '-a', 'aaaaaaaaaaaa', 'bbbbbbbbbbbb.1.hub-1.000001.box.x'];
  const { calls } = await afterForgotten(t, 'echo abc123abc123', `printf '%s\\n' '${foreign.join("' '")}'`);
  assert.equal(calls.length, 2, calls.join('\n'));
});

// case: SV34
test('a container whose client is gone is removed', async (t) => {
  const { calls } = await afterForgotten(t, 'echo abc123abc123', `echo ${OWN}.old`);
  assert.equal(calls.at(-1), 'rm -f abc123abc123');
});

// case: SV34
test('as many marks as a tool prints cost at most 16 looks', async (t) => {
  const { calls } = await afterForgotten(t, 'echo abc123abc123', `seq -f '${OWN}.%g' 1 3000`);
  assert.ok(calls.filter((call) => call.startsWith('rm ')).length <= 16, `${calls.length} calls`);
});

// case: SV34
test('a container tool that answers slowly or never holds a start up for 5 seconds in all', async (t) => {
  const { calls, ms } = await afterForgotten(t, 'sleep 2; echo abc123abc123', `sleep 2; seq -f '${OWN}.%g' 1 9`);
  assert.ok(ms > 4900 && ms < 7000, `${ms} ms, ${calls.length} calls`);
});

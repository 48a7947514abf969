import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { until } from '../../../test/support/hub.ts';
import { createRuntime } from '../../runtime/runtime.ts';
import { SearchPath } from './search-path.ts';

async function answerOf(shell: string): Promise<{ path: string; tookMs: number }> {
  const directory = mkdtempSync(join(tmpdir(), 'mcphub-shell-'));
  const file = join(directory, 'shell');
  writeFileSync(file, `#!/bin/sh\n${shell}\n`, { mode: 0o755 });
  try {
    const runtime = createRuntime();
    const search = new SearchPath({ runtime, env: { PATH: '/usr/bin:/bin', SHELL: file, SECRET: 'x' } });
    const born = performance.now();
    await search.start(runtime.deadline(1000));
    assert.ok(performance.now() - born < 100, 'start does not wait');
    await search.settled(runtime.deadline(5000));
    await until(() => runtime.scope.running.length === 0, 1000);
    return { path: search.current(), tookMs: performance.now() - born };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

test('the login shell adds directories behind the given ones, whatever else it prints', async () => {
  const { path } = await answerOf(
    `echo welcome; PATH="/opt/x/bin:relative:/bin:/home/u/.nvm/bin"; eval "$2"; echo bye`,
  );
  assert.equal(path, '/usr/bin:/bin:/opt/x/bin:/home/u/.nvm/bin');
});

test('a shell that hangs, fails or says nothing changes nothing', async () => {
  assert.equal((await answerOf('exit 1')).path, '/usr/bin:/bin');
  assert.equal((await answerOf('echo /evil')).path, '/usr/bin:/bin');
  const hung = await answerOf('sleep 60 & sleep 60');
  assert.equal(hung.path, '/usr/bin:/bin');
  assert.ok(hung.tookMs < 3000, `took ${hung.tookMs} ms`);
});

test('the shell sees none of the hub’s variables', async () => {
  const { path } = await answerOf(`PATH="/x/$SECRET"; eval "$2"`);
  assert.equal(path, '/usr/bin:/bin:/x/');
});

test('the wrapper that ties children to this process is tried once and works here', async (t) => {
  if (process.platform !== 'linux') return t.skip('only Linux has it');
  const runtime = createRuntime();
  const search = new SearchPath({ runtime, env: process.env });
  const lifeline = await search.lifeline(runtime.deadline(3000));
  if (lifeline.length === 0) return t.skip('no setpriv with --pdeathsig on this machine');
  assert.deepEqual(lifeline.slice(1), ['--pdeathsig', 'KILL', '--']);
  assert.equal(await search.lifeline(runtime.deadline(3000)), lifeline);
});

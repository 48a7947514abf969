import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { until } from '../../../test/support/hub.ts';
import { FAULT, Rig, type RigOptions } from '../../../test/support/stdio-rig.ts';
import type { HubError } from '../../model/errors.ts';
import { installPlan } from './install-plan.ts';

/** Returns a directory with an npx that takes a while to install, keeps a log, and then starts the fault server. */
class FakeNpx implements Disposable {
  readonly directory = mkdtempSync(join(tmpdir(), 'mcphub-npx-'));
  readonly #journal = join(this.directory, 'journal');

  constructor(installs: string, serves = `exec "${process.execPath}" "${FAULT}" normal`) {
    const script = `#!/bin/sh
case "$*" in
  *"-- node -e 0") echo begin >> "${this.#journal}"; ${installs}; echo end >> "${this.#journal}";;
  *) ${serves};;
esac
`;
    writeFileSync(join(this.directory, 'npx'), script, { mode: 0o755 });
    writeFileSync(this.#journal, '');
  }

  get journal(): string[] {
    return readFileSync(this.#journal, 'utf8').split('\n').filter(Boolean);
  }

  rig(options: RigOptions = {}, args = ['-y', 'some-pkg@1.0.0', '--flag']): Rig {
    const env = { ...process.env, PATH: `${this.directory}:${process.env.PATH}`, HOME: this.directory };
    const own = { HOME: this.directory };
    return new Rig([], { configDir: this.directory, process: { command: 'npx', args, env: own }, env, ...options });
  }

  [Symbol.dispose](): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}

// row B15 · guards src/subprocess/install/install-lock.ts
test('ten servers of one package install it once, in a phase of its own (B15, B16)', async () => {
  using npx = new FakeNpx('sleep 0.4');
  await using first = npx.rig();
  await using others = new AsyncDisposableStack();
  const rigs = [first, ...Array.from({ length: 9 }, () => others.use(npx.rig({ share: first })))];
  await Promise.all(rigs.map((rig) => rig.start()));
  assert.deepEqual(npx.journal, ['begin', 'end']);
  assert.ok(rigs.every((rig) => rig.phases.join() === 'install,start'));
  await Promise.all(rigs.map((rig) => rig.ask(1, 'initialize')));
  await using again = npx.rig({ share: first });
  await again.start();
  assert.deepEqual(again.phases, ['start']);
});

// row B14 · guards src/subprocess/install/install.ts
test('a start that gives up does not end the install; the next one finds it done (B14)', async () => {
  using npx = new FakeNpx('sleep 1.2');
  await using first = npx.rig();
  await assert.rejects(first.start(400), (fault: HubError) => fault.code === 'server-starting');
  await using second = npx.rig({ share: first });
  await second.start(8000);
  assert.deepEqual(npx.journal, ['begin', 'end']);
});

test('a failed install is named with the runner’s last lines, and the next start tries again', async () => {
  using npx = new FakeNpx('echo npm error 404 no such package >&2; exit 1');
  await using first = npx.rig();
  await assert.rejects(first.start(), (fault: HubError) => {
    assert.equal(fault.code, 'upstream-spawn');
    assert.equal(fault.detail.phase, 'install');
    assert.match(fault.message, /some-pkg@1\.0\.0 with npx failed: exit code 1\n.*404 no such package/);
    return true;
  });
  await using second = npx.rig({ share: first });
  await assert.rejects(second.start());
  assert.deepEqual(npx.journal, ['begin', 'begin']);
});

test('an install that never ends is cut at installMs with its whole family', async () => {
  using npx = new FakeNpx('sleep 100');
  await using rig = npx.rig({ spec: { installMs: 500 } });
  await assert.rejects(rig.start(), (fault: HubError) => {
    assert.match(fault.message, /not done after 500 ms \(setting installMs\)/);
    return fault.code === 'upstream-spawn';
  });
});

test('a program in node_modules needs no install', async () => {
  using npx = new FakeNpx('exit 1');
  mkdirSync(join(npx.directory, 'node_modules/.bin'), { recursive: true });
  writeFileSync(join(npx.directory, 'node_modules/.bin/some-bin'), '');
  await using rig = npx.rig({}, ['some-bin']);
  await rig.start();
  assert.deepEqual(rig.phases, ['start']);
  assert.deepEqual(npx.journal, []);
});

test('after a start that never spoke the next one installs in full', async () => {
  using npx = new FakeNpx('true', 'exit 3');
  await using first = npx.rig();
  await first.start();
  await until(() => first.closed.length > 0, 4000, 'closed');
  await using second = npx.rig({ share: first });
  await second.start();
  assert.deepEqual(second.phases, ['install', 'start']);
});

test('a stop while a package is installed ends the start at once', async () => {
  using npx = new FakeNpx('sleep 1');
  await using rig = npx.rig();
  const start = rig.start();
  await until(() => rig.phases.includes('install'), 4000, 'the install phase');
  const rejected = assert.rejects(start);
  assert.ok((await rig.stop()) < 300);
  await rejected;
  await until(() => npx.journal.includes('end'), 4000, 'the end of the install');
});

test('plans read the common runners and leave the rest alone', () => {
  const plan = (command: string, ...args: string[]) => installPlan({ command, args, env: {}, cwd: undefined })?.args;
  const tail = ['--', 'node', '-e', '0'];
  assert.deepEqual(plan('npx', '-y', 'pkg@2', '--port', '1'), ['--yes', '--package=pkg@2', ...tail]);
  assert.deepEqual(plan('/usr/bin/npx', '--package=a', '-p', 'b', '--', 'cmd', '-x'), [
    ...['--yes', '--package=a', '--package=b', ...tail],
  ]);
  assert.deepEqual(plan('npm', 'exec', '--registry', 'http://r.test', '@s/pkg'), [
    ...['exec', '--yes', '--registry', 'http://r.test', '--package=@s/pkg', ...tail],
  ]);
  assert.deepEqual(plan('uvx', 'tool@1.2', 'serve'), ['--from', 'tool==1.2', 'python', '-c', '']);
  assert.deepEqual(plan('uvx', '--from', 'git+https://x.test/y', '--with', 'z', 'tool'), [
    ...['--with', 'z', '--from', 'git+https://x.test/y', 'python', '-c', ''],
  ]);
  assert.deepEqual(plan('pnpm', 'dlx', 'pkg'), ['--package=pkg', 'dlx', 'node', '-e', '0']);
  for (const [command, ...args] of [
    ['node', 'x.js'],
    ['npx'],
    ['npx', '--no-install', 'pkg'],
    ['npx', '-c', 'x'],
    ['npx', './local'],
    ['npm', 'run', 'x'],
    ['uvx', 'python'],
    ['uv', 'run', 'x'],
  ] as const) {
    assert.equal(plan(command, ...args), undefined, `${command} ${args.join(' ')}`);
  }
  const keyed = (env: Record<string, string>) => installPlan({ command: 'npx', args: ['p'], env, cwd: undefined })?.key;
  assert.notEqual(keyed({ npm_config_registry: 'http://r.test' }), keyed({ TOKEN: 'x' }));
  assert.equal(keyed({}), keyed({ TOKEN: 'x' }));
});

/** Finds and reads the file in a real directory. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { createRuntime } from '../runtime/runtime.ts';
import { findConfigFile, type Loaded, type LoadOptions, loadConfig } from './load.ts';

const runtime = createRuntime();
const GOOD = '{ "mcpServers": { "a": { "command": "node", "cwd": "x" } } }';
let root = '';

before(async () => {
  root = await mkdtemp(join(tmpdir(), 'config-load-'));
  for (const directory of ['empty', 'cwd', 'both', 'xdg/mcphub', 'home/.config/mcphub']) {
    await mkdir(join(root, directory), { recursive: true });
  }
  await writeFile(join(root, 'cwd/mcphub.jsonc'), GOOD);
  await writeFile(join(root, 'both/mcphub.jsonc'), GOOD);
  await writeFile(join(root, 'both/mcp_settings.json'), GOOD);
  await writeFile(join(root, 'xdg/mcphub/mcp_settings.json'), GOOD);
  await writeFile(join(root, 'home/.config/mcphub/mcphub.jsonc'), GOOD);
});
after(() => rm(root, { recursive: true, force: true }));

type Some = Partial<Omit<LoadOptions, 'deadline'>>;

function optionsOf(some: Some): Omit<LoadOptions, 'deadline'> {
  return { env: {}, cwd: join(root, 'empty'), home: join(root, 'nowhere'), runtime, ...some };
}

async function load(some: Some): Promise<Loaded> {
  using deadline = runtime.deadline(5000);
  return loadConfig({ ...optionsOf(some), deadline });
}

async function found(some: Some): Promise<string | undefined> {
  using deadline = runtime.deadline(5000);
  const place = await findConfigFile({ ...optionsOf(some), deadline });
  return place && `${place.how} ${place.file.slice(root.length + 1)}`;
}

test('searches for the file in order: flag, environment, working directory, XDG, fallback', async () => {
  const all = {
    path: 'x.json',
    env: { MCPHUB_CONFIG: 'y.json', MCPHUB_SETTING_PATH: 'z.json', XDG_CONFIG_HOME: join(root, 'xdg') },
    cwd: join(root, 'both'),
    home: join(root, 'home'),
    fallback: join(root, 'fallback.json'),
  };
  assert.equal(await found(all), 'flag both/x.json');
  assert.equal(await found({ ...all, path: undefined }), 'env both/y.json');
  assert.equal(await found({ ...all, path: '', env: { ...all.env, MCPHUB_CONFIG: '' } }), 'env both/z.json');
  const quiet = { ...all, path: undefined, env: { XDG_CONFIG_HOME: join(root, 'xdg') } };
  assert.equal(await found(quiet), 'cwd both/mcp_settings.json');
  assert.equal(await found({ ...quiet, cwd: join(root, 'cwd') }), 'cwd cwd/mcphub.jsonc');
  assert.equal(await found({ ...quiet, cwd: join(root, 'empty') }), 'xdg xdg/mcphub/mcp_settings.json');
  assert.equal(
    await found({ home: all.home, env: { XDG_CONFIG_HOME: 'relative' } }),
    'xdg home/.config/mcphub/mcphub.jsonc',
  );
  assert.equal(await found({ fallback: all.fallback }), 'fallback fallback.json');
  assert.equal(await found({}), undefined);
});

test('reads the file that it finds, and uses its directory as base', async () => {
  const loaded = await load({ path: '../cwd/mcphub.jsonc' });
  assert.deepEqual(loaded.problems, []);
  assert.equal(loaded.config?.file, join(root, 'cwd/mcphub.jsonc'));
  const transport = loaded.config?.servers[0]?.transport;
  assert.equal(transport?.kind === 'stdio' && transport.cwd, join(root, 'cwd/x'));
});

test('starts without servers when there is no file, with limits of environment and flags', async () => {
  const loaded = await load({ env: { MCPHUB_CALLS: '7' }, flags: { batch: 3 } });
  assert.equal(loaded.config?.file, undefined);
  assert.deepEqual(loaded.config?.servers, []);
  assert.deepEqual(loaded.config?.limitOverrides, { calls: 7, batch: 3 });
  assert.deepEqual(
    loaded.problems.map(({ severity }) => severity),
    ['warning'],
  );
  assert.match(loaded.problems[0]?.message ?? '', /looked for .*mcp_settings\.json/);
});

test('reports a named file that does not exist, and never skips it', async () => {
  const loaded = await load({ path: 'none.json', cwd: join(root, 'both') });
  assert.equal(loaded.config, undefined);
  assert.deepEqual(
    loaded.problems.map(({ file, message }) => [file, message]),
    [[join(root, 'both/none.json'), 'does not exist']],
  );
});

test('reports what is not a readable regular text file, and does not wait for a silent pipe', async () => {
  const messageOf = async (name: string): Promise<string | undefined> => {
    const loaded = await load({ path: join(root, name) });
    assert.equal(loaded.config, undefined);
    return loaded.problems[0]?.message;
  };
  execFileSync('mkfifo', [join(root, 'pipe')]);
  assert.equal(await messageOf('pipe'), 'is not a plain file');
  assert.equal(await messageOf('empty'), 'is a directory');
  await writeFile(join(root, 'binary'), Buffer.from([0x7b, 0xff, 0xfe]));
  assert.equal(await messageOf('binary'), 'is not UTF-8 text');
  await writeFile(join(root, 'large'), ' '.repeat(4 * 1024 * 1024 + 1));
  assert.equal(await messageOf('large'), 'is larger than 4 MiB');
  await symlink('loop', join(root, 'loop'));
  assert.equal(await messageOf('loop'), 'is a symbolic link to itself');
  if (process.getuid?.() === 0) return;
  await writeFile(join(root, 'closed'), GOOD);
  await chmod(join(root, 'closed'), 0);
  assert.equal(await messageOf('closed'), 'is not readable by this user');
});

test('reports a dangling link instead of using another file', async () => {
  const cwd = join(root, 'dangling');
  await mkdir(cwd);
  await symlink('gone.json', join(cwd, 'mcp_settings.json'));
  await writeFile(join(cwd, 'mcphub.jsonc'), GOOD);
  const loaded = await load({ cwd });
  assert.equal(loaded.config, undefined);
  assert.equal(loaded.problems[0]?.file, join(cwd, 'mcp_settings.json'));
});

test('ends reading at the deadline, also without a runtime', async () => {
  using deadline = runtime.deadline(5000);
  deadline.end('draining');
  const expired = { code: 'wait-expired' };
  await assert.rejects(loadConfig({ ...optionsOf({ path: join(root, 'cwd/mcphub.jsonc') }), deadline }), expired);
  await assert.rejects(loadConfig({ ...optionsOf({ runtime: undefined }), deadline }), expired);
});

// finding: SR-L12
test('reads a file that others may write, with a warning that tells who and what to do', async () => {
  const file = join(root, 'open.json');
  await writeFile(file, GOOD);
  await chmod(file, 0o666);
  const { config, problems } = await load({ path: file });
  assert.ok(config);
  assert.deepEqual(
    problems.map(({ severity }) => severity),
    ['warning'],
  );
  assert.match(problems[0]?.message ?? '', /every user of this machine \(mode 666\).*chmod go-w/);
  await chmod(file, 0o600);
  assert.deepEqual((await load({ path: file })).problems, []);
});

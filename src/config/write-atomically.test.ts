/** Files have the old or the new content, never a part, on a real disk and when the writer is killed. */
// runs: about 25 s
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { lstat, mkdtemp, readdir, readFile, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { scaled } from '../../test/support/measured.ts';
import { createRuntime } from '../runtime/runtime.ts';
import { writeAtomically } from './write-atomically.ts';

const runtime = createRuntime();
let root = '';

before(async () => {
  root = await mkdtemp(join(tmpdir(), 'config-write-'));
});
after(() => rm(root, { recursive: true, force: true }));

async function write(file: string, content: string | Uint8Array): Promise<void> {
  using deadline = runtime.deadline(5000);
  await writeAtomically(file, content, { waits: runtime.waits, deadline });
}

test('a file is made or replaced as a whole, for its owner only, and nothing else is left', async () => {
  const directory = await mkdtemp(join(root, 'a-'));
  const file = join(directory, 'x.json');
  await write(file, 'one');
  await write(file, new Uint8Array([0x74, 0x77, 0x6f]));
  assert.equal(await readFile(file, 'utf8'), 'two');
  assert.equal((await stat(file)).mode & 0o777, 0o600);
  assert.deepEqual(await readdir(directory), ['x.json']);
});

test('a link stays a link', async () => {
  const directory = await mkdtemp(join(root, 'b-'));
  await writeFile(join(directory, 'real.json'), 'old');
  await symlink('real.json', join(directory, 'link.json'));
  await write(join(directory, 'link.json'), 'new');
  assert.ok((await lstat(join(directory, 'link.json'))).isSymbolicLink());
  assert.equal(await readFile(join(directory, 'real.json'), 'utf8'), 'new');
});

test('a write that is too late changes nothing and leaves nothing', async () => {
  const directory = await mkdtemp(join(root, 'c-'));
  const file = join(directory, 'x.json');
  await writeFile(file, 'old');
  using deadline = runtime.deadline(5000);
  const writing = writeAtomically(file, Buffer.alloc(16 * 1024 * 1024), { waits: runtime.waits, deadline });
  await until(async () => (await readdir(directory)).length === 2);
  deadline.end('time-up');
  await assert.rejects(writing, { code: 'wait-expired' });
  await until(async () => (await readdir(directory)).length === 1);
  await assert.rejects(writeAtomically(file, 'new', { waits: runtime.waits, deadline }), { code: 'wait-expired' });
  assert.equal(await readFile(file, 'utf8'), 'old');
  assert.deepEqual(await readdir(directory), ['x.json']);
});

async function until(isSo: () => Promise<boolean>): Promise<void> {
  const started = performance.now();
  while (!(await isSo())) assert.ok(performance.now() - started < 8000, 'it never came to be so');
}

test('a disk that refuses is a named fault', async () => {
  await assert.rejects(write(join(root, 'none/x.json'), 'x'), {
    code: 'store-failed',
    message: 'x.json could not be written (ENOENT)',
  });
  await assert.rejects(write(root, 'x'), { code: 'store-failed' });
});

test('what killed writers left is cleared once it is old, and only that', async () => {
  const directory = await mkdtemp(join(root, 'd-'));
  const old = new Date(Date.now() - 3_600_000);
  for (const name of ['.x.json.1-aa.tmp', '.y.json.1-aa.tmp', '.x.json.2-bb.tmp'])
    await writeFile(join(directory, name), '');
  for (const name of ['.x.json.1-aa.tmp', '.y.json.1-aa.tmp']) await utimes(join(directory, name), old, old);
  await write(join(directory, 'x.json'), 'x');
  assert.deepEqual((await readdir(directory)).sort(), ['.x.json.2-bb.tmp', '.y.json.1-aa.tmp', 'x.json']);
});

test('writers at the same time leave one whole text', async () => {
  const file = join(root, 'many.json');
  const texts = Array.from({ length: 20 }, (_, at) => String(at).repeat(50_000));
  await Promise.all(texts.map((text) => write(file, text)));
  assert.ok(texts.includes(await readFile(file, 'utf8')));
});

// row E1 · guards src/config/write-atomically.ts
test('a writer killed at any moment leaves the old text or the new one', async () => {
  const directory = await mkdtemp(join(root, 'e-'));
  const file = join(directory, 'x.json');
  await write(file, '{"n":0}');
  const program = `
    import { createRuntime } from ${JSON.stringify(new URL('../runtime/runtime.ts', import.meta.url).href)};
    import { writeAtomically } from ${JSON.stringify(new URL('./write-atomically.ts', import.meta.url).href)};
    const runtime = createRuntime();
    for (let n = 1; ; n += 1) {
      const deadline = runtime.deadline(5000);
      await writeAtomically(process.argv[1], JSON.stringify({ n, fill: 'x'.repeat(2000000) }), { waits: runtime.waits, deadline });
      process.stdout.write('.');
    }`;
  for (let round = 0; round < scaled({ ci: 20, long: 500 }); round += 1) {
    const writer = spawn(process.execPath, ['--input-type=module', '-e', program, file], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const exit = once(writer, 'exit');
    await once(writer.stdout, 'data');
    // Readers, and the next process after the kill, must find complete texts only.
    const killMs = performance.now() + Math.random() * 60;
    while (performance.now() < killMs) JSON.parse(await readFile(file, 'utf8'));
    writer.kill('SIGKILL');
    await exit;
    const { n, fill } = JSON.parse(await readFile(file, 'utf8')) as { n: number; fill: string };
    assert.ok(n >= 1 && fill.length === 2_000_000);
  }
});

/**
 * The runner of `npm test` with files that fail, hang and leave things open.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { isAlive, until } from '../../test/support/hub.ts';
import { type FileResult, runFile } from './run-file.ts';
import { inTurn } from './run-files.ts';

const dir = mkdtempSync(join(tmpdir(), 'mcphub-test-runner-'));
after(() => rmSync(dir, { recursive: true, force: true }));

const OPEN_MS = 300;
/** Far below the limit for a file. */
const QUICK_SECONDS = 20;

function write(name: string, lines: string): string {
  const path = join(dir, `${name}.test.mjs`);
  writeFileSync(path, `import { after, before, describe, test } from 'node:test';\n${lines}\n`);
  return path;
}

function run(name: string, lines: string, limitMs = 60_000): Promise<FileResult> {
  return runFile(write(name, lines), { limitMs, openMs: OPEN_MS });
}

test('counts the tests of a file that passes', async () => {
  const { passed, failed } = await run('passes', "test('a', () => {}); describe('b', () => { test('c', () => {}); });");
  assert.deepEqual([passed, failed], [2, 0]);
});

test('a file whose before fails and leaves a server open ends soon, as failed, with the reason', async () => {
  const result = await run(
    'before',
    `import { createServer } from 'node:net';
     describe('suite', () => {
       before(async () => { await new Promise((done) => createServer().listen(0, done)); throw new Error('before has failed'); });
       test('a', () => {});
     });`,
  );
  assert.ok(result.failed > 0 && result.seconds < QUICK_SECONDS, `${result.failed} failed, ${result.seconds} s`);
  assert.match(result.output, /still running 0\.3 s after its last test; open: .*TCPServerWrap/);
  assert.match(result.output, /Error: before has failed/);
});

test('a file whose tests pass and leave a server open fails', async () => {
  const result = await run(
    'leaves',
    "import { createServer } from 'node:net'; test('a', () => { createServer().listen(0); });",
  );
  assert.deepEqual([result.passed, result.failed], [1, 1]);
});

test('a file that hangs is ended at its limit and names the tests that ran', async () => {
  const result = await run(
    'hangs',
    "test('first', () => { throw new Error('why'); }); test('hangs', () => new Promise((done) => setTimeout(done, 1e8)));",
    1500,
  );
  assert.ok(result.failed > 0 && result.seconds < QUICK_SECONDS, `${result.failed} failed, ${result.seconds} s`);
  assert.match(result.output, /takes longer than 2 s; running: hangs/);
  assert.match(result.output, /first: Error: why/);
});

test('a file that runs no test, and one that cannot be loaded, fails', async () => {
  assert.equal((await run('empty', '')).failed, 1);
  assert.equal((await run('broken', 'throw new Error("at the start");')).failed, 1);
});

test('a file that opens a terminal outlives it, and one that is killed has failed', async () => {
  const holder = 'import os, time\nm, s = os.openpty()\nprint(os.ttyname(s), flush=True)\ntime.sleep(60)';
  const { passed, failed, output } = await run(
    'terminal',
    `import { spawn } from 'node:child_process'; import { once } from 'node:events'; import { openSync, closeSync } from 'node:fs';
     test('a', async () => {
       const holder = spawn('python3', ['-c', ${JSON.stringify(holder)}], { stdio: ['ignore', 'pipe', 'inherit'] });
       const [name] = await once(holder.stdout, 'data');
       const fd = openSync(name.toString().trim(), 'r+');
       holder.kill('SIGKILL');
       await once(holder, 'exit');
       await new Promise((done) => setTimeout(done, 100));
       closeSync(fd);
     });`,
  );
  assert.deepEqual([passed, failed], [1, 0], output);
  const killed = await run('killed', "test('a', () => { process.kill(process.pid, 'SIGKILL'); });");
  assert.equal(killed.failed, 1);
  assert.match(killed.output, /ended with code 137 and no failed test/);
});

test('a file is not started when the budget of its phase is used up', async () => {
  const result = await run('late', "test('a', () => {});", 0);
  assert.deepEqual([result.passed, result.failed], [0, 1]);
  assert.match(result.output, /budget of the phase/);
});

test('no process of a file outlives it', async () => {
  const { output, failed } = await run(
    'children',
    `import { spawn } from 'node:child_process';
     test('a', () => { const child = spawn('sleep', ['600']); console.log('pid=' + child.pid); child.unref(); child.stdout.unref(); child.stderr.unref(); child.stdin.unref(); });`,
  );
  assert.equal(failed, 0, output);
  const pid = Number(/pid=(\d+)/.exec(output)?.[1]);
  await until(() => !isAlive(pid), 5000, 'the end of the child');
});

test('files without a mark come first, then pairs, then those that run alone; the longest first', () => {
  const files = [
    write('alone', '// runs: alone'),
    write('pair', '// runs: in pairs'),
    write('long-pair', '// runs: in pairs, about 60 s'),
    write('short', ''),
    write('plain', '// more text'),
    write('long-plain', '// runs: about 30 s'),
  ];
  const turns = inTurn(files, 4).map(({ path, places }) => [path.slice(dir.length + 1).split('.')[0], places]);
  assert.deepEqual(turns, [
    ['long-plain', 1],
    ['plain', 1],
    ['short', 1],
    ['long-pair', 2],
    ['pair', 2],
    ['alone', 4],
  ]);
});

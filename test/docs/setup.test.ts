/**
 * The two commands of the README, part by part: the lock file installs, `npm start` serves, `npm test` and .ci/run are what they say.
 * Does not: install or test for real (a test run is inside one); `npm ci` is asked what it would do.
 */
// covers: A10
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { run } from '../support/cli.ts';
import { cleanEnv, freePort, isAlive, ROOT, statusOf, tryKill, until } from '../support/hub.ts';
import { readDocument } from './_documents.ts';

/** Generous: the machine may be busy. How fast it starts is measured by the journeys. */
const START_MS = 90_000;

const scripts: Readonly<Record<string, string>> = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')).scripts;

test('the READMEs give the two commands, and nothing else to set up', () => {
  for (const path of ['README.md', 'README.ko.md']) {
    const setup = readDocument(path).blocks.filter(({ mark }) => mark[0] === 'setup');
    assert.deepEqual(
      setup.map(({ text }) => text),
      ['npm ci && npm start', 'npm ci && npm test'],
    );
  }
  assert.equal(scripts.start, 'node bin/mcphub.js start --example');
  assert.equal(scripts.test, 'node scripts/test.ts');
});

test('npm ci finds a lock file that agrees with package.json', async () => {
  const ran = await run('npm', ['ci', '--dry-run', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline'], {
    timeoutMs: 60_000,
  });
  assert.equal(ran.code, 0, ran.stderr);
});

test('npm start serves, and ends when its guard is told to', async () => {
  const home = mkdtempSync(join(tmpdir(), 'mcphub-start-'));
  const port = await freePort();
  const dataDir = join(home, 'data');
  const child = spawn('npm', ['start', '--silent'], {
    cwd: ROOT,
    stdio: 'ignore',
    env: { ...cleanEnv(), HOME: home, TMPDIR: home, PORT: String(port), MCPHUB_DATA_DIR: dataDir },
  });
  const ended = new Promise<number | null>((done) => child.once('exit', (code) => done(code)));
  // npm and its shell pass no signal on that can be relied on: the guard is asked itself.
  const guard = (): number => JSON.parse(readFileSync(join(dataDir, 'lock'), 'utf8')).pid;
  try {
    const isUp = async () => {
      assert.equal(child.exitCode, null, 'npm start goes on');
      return (await statusOf(`http://127.0.0.1:${port}/health`)) === 200;
    };
    await until(isUp, START_MS, '/health');
    assert.match(readFileSync(join(dataDir, 'first-key'), 'utf8'), /^mcphub_[0-9a-f]{64}\n$/);
    const pid = guard();
    process.kill(pid, 'SIGTERM');
    assert.equal(await ended, 0);
    assert.equal(isAlive(pid), false);
  } finally {
    if (child.exitCode === null) {
      // Its hubs and their servers end by themselves when it is gone.
      if (existsSync(join(dataDir, 'lock'))) tryKill(guard());
      child.kill('SIGKILL');
    }
    rmSync(home, { recursive: true, force: true });
  }
});

test('npx mcphub is this clone’s command', async () => {
  const ran = await run('npx', ['mcphub', '--version'], { timeoutMs: 60_000 });
  assert.equal(ran.code, 0, ran.stderr);
  assert.equal(ran.stdout.trim(), JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')).version);
});

test('.ci/run is a program that installs and tests', () => {
  const file = join(ROOT, '.ci/run');
  assert.ok((statSync(file).mode & 0o111) !== 0, 'it can be executed');
  const text = readFileSync(file, 'utf8');
  assert.match(text, /^#!.*\b(ba)?sh$/m);
  assert.match(text, /^npm ci\b.*\n(.*\n)*npm test$/m);
});

test('every npm script that a document names exists', () => {
  const named = ['README.md', 'README.ko.md', 'CONTRIBUTING.md', 'ARCHITECTURE.md'].flatMap((path) =>
    [...readDocument(path).text.matchAll(/`npm run ([\w:-]+)/g)].map(([, name]) => name ?? ''),
  );
  assert.ok(named.includes('test:quick') && named.includes('check'));
  for (const name of named) assert.ok(name in scripts, `npm run ${name}`);
});

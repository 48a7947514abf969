/**
 * The two commands of the README, part by part: the lock file installs, `npm start` serves, `npm test` and .ci/run are
 * what they say.
 * Does not: install or test for real (a test run is inside one); `npm ci` is asked what it would do.
 */
// covers: A10
// runs: about 35 s
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { test } from 'node:test';
import { run } from '../support/cli.ts';
import {
  cleanEnv,
  freePort,
  isAlive,
  markedProcesses,
  ROOT,
  statusOf,
  tryKill,
  until,
  within,
} from '../support/hub.ts';
import { slowness } from '../support/load.ts';
import { readDocument } from './_documents.ts';

/** Generous: the machine may be busy. How fast it starts is measured by the journeys. */
const START_MS = 90_000;
/** Until nothing is left, without running calls. */
const STOP_MS = 5000;

const scripts: Readonly<Record<string, string>> = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')).scripts;

test('the READMEs give the two commands, and nothing else to set up', () => {
  for (const path of ['README.md', 'README.ko.md']) {
    const setup = readDocument(path).blocks.filter(({ mark }) => mark[0] === 'setup');
    assert.deepEqual(
      setup.map(({ text }) => text),
      ['npm ci && npm start', 'npm ci && npm test'],
    );
  }
  assert.equal(scripts.start, 'exec node bin/mcphub.js start --example');
  assert.equal(scripts.test, 'node scripts/test.ts');
});

test('npm ci finds a lock file that agrees with package.json', async () => {
  const ran = await run('npm', ['ci', '--dry-run', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline'], {
    timeoutMs: 60_000,
  });
  assert.equal(ran.code, 0, ran.stderr);
});

/** How a person or a process manager ends it. npm passes a signal on to the program that it started. */
const ENDS: readonly (readonly [string, NodeJS.Signals, (npm: number) => number])[] = [
  ['SIGTERM to npm', 'SIGTERM', (npm) => npm],
  ['Ctrl-C, which reaches npm and the hub', 'SIGINT', (npm) => -npm],
  ['SIGTERM to the process group', 'SIGTERM', (npm) => -npm],
];

/**
 * Directories of the different versions of node that npm can run with: the one of this test, and that of the system.
 */
function nodeDirs(): string[] {
  const others = (process.env.PATH ?? '').split(delimiter).filter((dir) => existsSync(join(dir, 'node')));
  const byVersion = new Map<string, string>();
  for (const dir of [dirname(process.execPath), ...others]) {
    const { stdout } = spawnSync(join(dir, 'node'), ['--version'], { encoding: 'utf8' });
    const [major = ''] = stdout.split('.');
    if (major !== '' && !byVersion.has(major)) byVersion.set(major, dir);
  }
  return [...byVersion.values()];
}

for (const dir of nodeDirs())
  for (const [how, signal, targetOf] of dir === dirname(process.execPath) ? ENDS : ENDS.slice(0, 2))
    test(`npm start serves with ${dir}/node, and ends as a whole upon ${how}`, { timeout: 150_000 }, async () => {
      const home = mkdtempSync(join(tmpdir(), 'mcphub-start-'));
      const port = await freePort();
      const dataDir = join(home, 'data');
      const child = spawn('npm', ['start', '--silent'], {
        cwd: ROOT,
        // A process group of its own, as a shell makes it.
        detached: true,
        stdio: ['ignore', 'pipe', 'ignore'],
        env: {
          ...cleanEnv(),
          ...{ HOME: home, TMPDIR: home, PORT: String(port), MCPHUB_DATA_DIR: dataDir },
          PATH: [dir, process.env.PATH].join(delimiter),
        },
      });
      let log = '';
      child.stdout.on('data', (chunk: Buffer) => {
        log += chunk.toString();
      });
      const ended = new Promise<void>((done) => child.once('close', () => done()));
      const guard = (): number => JSON.parse(readFileSync(join(dataDir, 'lock'), 'utf8')).pid;
      let all: readonly number[] = [];
      try {
        const isUp = async () => {
          assert.equal(child.exitCode, null, 'npm start goes on');
          return (await statusOf(`http://127.0.0.1:${port}/health`)) === 200;
        };
        await until(isUp, START_MS, '/health');
        assert.match(readFileSync(join(dataDir, 'first-key'), 'utf8'), /^mcphub_[0-9a-f]{64}\n$/);
        all = [guard(), ...markedProcesses(dataDir, guard())];
        assert.ok(all.length > 2, 'supervisor, control process, worker');
        const npm = child.pid ?? -1;
        const [mostMs, bornMs] = [STOP_MS * (await slowness()), performance.now()];
        process.kill(targetOf(npm), signal);
        await until(() => all.every((pid) => !isAlive(pid)), mostMs, 'all processes are gone');
        await within(ended, mostMs, () => 'npm goes on');
        assert.ok(performance.now() - bornMs < mostMs);
        assert.match(log, /"event":"drain-started"/);
        assert.doesNotMatch(log, /a second SIG/, 'calls that run may finish');
      } finally {
        for (const pid of all) tryKill(pid);
        if (child.exitCode === null) child.kill('SIGKILL');
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

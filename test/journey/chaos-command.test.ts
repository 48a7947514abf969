/**
 * `mcphub chaos`: the sandbox is the user's configuration, the user's own hub does not notice it, the report tells what
 * happened, and nothing is left.
 */
// runs: alone
// covers: P1, P10
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { mcphub } from '../support/cli.ts';
import { CLI, cleanEnv, environOf, isAlive, ROOT, startHub, statusOf, tryKill, until, within } from '../support/hub.ts';

const RUN_MS = 100_000;
const STOP_MS = 20_000;

let dir = '';
/** The command's temporary directory: what is left of a sandbox is left there. */
let scratch = '';
let configFile = '';

before(() => {
  dir = mkdtempSync(join(tmpdir(), 'mcphub-test-chaos-'));
  scratch = join(dir, 'scratch');
  mkdirSync(scratch);
  mkdirSync(join(dir, 'conf'));
  configFile = join(dir, 'conf/mcp_settings.json');
  const trace = `require("node:fs").appendFileSync("started", process.cwd() + "\\n");`;
  writeFileSync(
    configFile,
    `{ // of the user
      "mcpServers": {
        "mine": { "command": "node", "args": ["--eval", ${JSON.stringify(`${trace} import(${JSON.stringify(join(ROOT, 'test/support/fault-stdio.ts'))})`)}], "cwd": ".." },
      },
      "groups": { "few": { "servers": ["mine"] } },
    }`,
  );
});

after(async () => {
  // Of a test that has failed. A supervisor that is killed may leave somebody behind for a moment.
  const isCleared = (): boolean => {
    const pids = left();
    for (const pid of pids) tryKill(pid);
    return pids.length === 0;
  };
  await until(isCleared, 5000, 'what was left is gone');
  rmSync(dir, { recursive: true, force: true });
});

/** Living processes that were started by the command: they have its temporary directory. */
function left(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => pid !== process.pid && environOf(pid).TMPDIR === scratch && isAlive(pid));
}

async function nothingIsLeft(): Promise<void> {
  await until(() => left().length === 0, 5000, 'every process of the sandbox is gone');
  assert.deepEqual(readdirSync(scratch), []);
}

/** Where the user's server was started, a line each. */
const startedIn = (): string[] =>
  (existsSync(join(dir, 'started')) ? readFileSync(join(dir, 'started'), 'utf8') : '').split('\n').slice(0, -1);

test('troubles in a sandbox: the report tells them, the user’s own hub and data stay as they are', {
  timeout: 150_000,
}, async () => {
  await using own = await startHub({ config: readFileSync(configFile, 'utf8').replace('".."', JSON.stringify(dir)) });
  await until(() => startedIn().length === 1, 30_000, 'the server of the user’s own hub is started');
  const pids = own.processes();
  const args = ['chaos', '--config', configFile, '--only', 'hung', 'huge', 'crash', 'loop', '--seconds', '1', '--json'];
  const ran = await mcphub(args, { timeoutMs: RUN_MS, env: { TMPDIR: scratch } });
  assert.equal(ran.code, 0, `${ran.stdout}${ran.stderr}`);
  const told = JSON.parse(ran.stdout);
  assert.equal(told.promisesKept, true);
  assert.equal(told.config, configFile);
  assert.deepEqual(
    told.troubles.map(({ name }: { name: string }) => name),
    ['hung', 'huge', 'crash', 'loop'],
  );
  const [hung, huge, crash, loop] = told.troubles;
  assert.match(hung.broken.words, /did not respond/);
  assert.ok(hung.broken.medianMs >= 4500, `${hung.broken.medianMs} ms`);
  assert.equal(huge.broken.results, 0);
  assert.match(huge.broken.words, /exceeds the limit/);
  assert.equal(crash.broken.results, 0);
  assert.equal(loop.broken, undefined);
  // It was really away: the loop stood still, and another process serves now.
  assert.ok(loop.outageMs >= 1500, `${loop.outageMs} ms`);
  for (const { health, list, echo, idleMs } of told.troubles) {
    assert.ok(health.sent > 0 && list.sent > 0 && echo.sent > 0);
    assert.equal(typeof idleMs, 'number');
  }
  // The user's server was started in the sandbox too, at its own place: once, and once more after the loop.
  assert.ok(startedIn().length >= 3, `${startedIn().length} starts`);
  assert.deepEqual([...new Set(startedIn())], [dir]);
  assert.deepEqual(own.processes(), pids);
  assert.equal(await statusOf(`${own.url}/health`), 200);
  await nothingIsLeft();
});

test('without its servers only ours are started; people read a table and a verdict', { timeout: 60_000 }, async () => {
  const before = startedIn().length;
  const args = ['chaos', '--config', configFile, '--only', 'garbage', 'flood', '--seconds', '1', '--without-servers'];
  const ran = await mcphub(args, { timeoutMs: RUN_MS, env: { TMPDIR: scratch } });
  assert.equal(ran.code, 0, `${ran.stdout}${ran.stderr}`);
  assert.equal(startedIn().length, before);
  assert.match(ran.stdout, /^garbage +\d+\/\d+ .* ok$/m);
  assert.match(
    ran.stdout,
    /^garbage: .* ended with an error .*: .*The response of the server to this call is not a valid JSON-RPC message/m,
  );
  assert.match(ran.stdout, /^flood: .* returned a result/m);
  assert.match(ran.stdout, /^All guarantees held\.$/m);
  assert.equal(ran.stderr, '');
  await nothingIsLeft();
});

test('Ctrl-C in the midst of it: 130, and nothing is left', { timeout: 60_000 }, async () => {
  const child = spawn(process.execPath, [CLI, 'chaos', '--config', configFile, '--only', 'hung', '--seconds', '30'], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...cleanEnv(), TMPDIR: scratch },
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => {
      said += chunk;
    });
  const exited = new Promise<number | null>((done) => child.once('exit', done));
  const hasBegun = (): boolean => /A sandbox of .* on port \d+/.test(said) && left().length > 4;
  try {
    await until(hasBegun, 30_000).catch(() => assert.fail(`the trouble has not begun: ${said}`));
  } finally {
    child.kill('SIGINT');
  }
  const code = await within(exited, STOP_MS, () => `it goes on: ${said}`).finally(() => child.kill('SIGKILL'));
  assert.equal(code, 130, said);
  await nothingIsLeft();
});

test('what cannot work is told before anything is started', { timeout: 60_000 }, async () => {
  const unknown = await mcphub(['chaos', '--only', 'weather']);
  assert.equal(unknown.code, 2);
  assert.match(unknown.stderr, /Unknown fault "weather"; available: hung, /);
  const broken = join(dir, 'broken.json');
  writeFileSync(broken, '{ "mcpServers": { "a": { "command": 7 } } }');
  const ran = await mcphub(['chaos', '--config', broken], { env: { TMPDIR: scratch } });
  assert.equal(ran.code, 78, ran.stderr);
  assert.match(ran.stderr, /mcpServers\.a/);
  await nothingIsLeft();
});

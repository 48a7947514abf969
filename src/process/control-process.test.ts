/** Runs the control process as a real child with a supervisor channel, in a directory of its own. */
import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { type IncomingMessage, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { slowness } from '../../test/support/load.ts';
import { limitsFrom } from '../config/limits.ts';
import type { Snapshot } from '../model/snapshot.ts';
import type { ProcessMessage } from '../model/supervisor-messages.ts';
import { KEYS_SOCKET } from '../model/supervisor-messages.ts';
import { KeysClient } from '../relay/keys-client.ts';
import { RelayClient } from '../relay/relay-client.ts';
import { createRuntime } from '../runtime/runtime.ts';

const MAIN = join(import.meta.dirname, 'main.ts');
const GOOD = { mcpServers: { one: { url: 'http://127.0.0.1:9/mcp' } } };

interface Child {
  readonly child: ChildProcess;
  readonly dir: string;
  readonly runDir: string;
  readonly words: ProcessMessage[];
  readonly exited: Promise<[number | null, NodeJS.Signals | null]>;
  word<T extends ProcessMessage['t']>(t: T): Promise<ProcessMessage & { t: T }>;
}

async function controlOn(
  t: TestContext,
  config: unknown,
  more: Record<string, string> = {},
  supervisor = { go: true },
): Promise<Child> {
  const dir = more.MCPHUB_DATA_DIR ?? (await mkdtemp(join(tmpdir(), 'mcphub-process-')));
  const runDir = join(dir, 'run');
  const file = join(dir, 'mcp_settings.json');
  await writeFile(file, typeof config === 'string' ? config : JSON.stringify(config));
  const env = {
    PATH: process.env.PATH ?? '',
    HOME: dir,
    MCPHUB_PROCESS: 'control',
    MCPHUB_SLOT: '0',
    MCPHUB_DATA_DIR: dir,
    MCPHUB_RUN_DIR: runDir,
    MCPHUB_CONFIG: file,
    ...more,
  };
  const child = fork(MAIN, [], { env, execArgv: [], stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  const words: ProcessMessage[] = [];
  child.on('message', (word: ProcessMessage) => {
    words.push(word);
    if (word.t === 'configured' && supervisor.go) child.send({ t: 'go', port: word.limits.port });
  });
  const exited = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>;
  t.after(async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
    await exited;
    await rm(dir, { recursive: true, force: true });
  });
  return {
    child,
    dir,
    runDir,
    words,
    exited,
    async word(wanted) {
      for (;;) {
        const found = words.find((word) => word.t === wanted);
        if (found) return found as never;
        const next = await Promise.race([once(child, 'message').then(() => undefined), exited]);
        if (next && !words.some((word) => word.t === wanted))
          assert.fail(`it ended (${next.join()}) without ${wanted}`);
      }
    },
  };
}

async function get(
  socketPath: string,
  path: string,
  method = 'GET',
  body = '',
): Promise<{ status: number; body: never }> {
  const sent = request({ socketPath, path, method, agent: false });
  sent.end(body);
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  let text = '';
  for await (const chunk of response) text += chunk;
  return { status: response.statusCode ?? 0, body: JSON.parse(text) as never };
}

test('becomes ready, answers, sends a worker its snapshot, and exits when asked', async (t) => {
  // One second on an idle machine; a loaded one takes twice as long or more.
  let control = await controlOn(t, GOOD);
  const tries = [(await control.word('ready')).ms];
  const gateMs = 2020 * (await slowness());
  while (tries.length < 4 && Math.min(...tries) >= gateMs) {
    control = await controlOn(t, GOOD);
    tries.push((await control.word('ready')).ms);
  }
  assert.ok(Math.min(...tries) < gateMs, `ready after ${tries.join(', ')} ms; the gate is ${Math.round(gateMs)} ms`);
  const socket = join(control.runDir, 'control.sock');
  assert.equal((await get(socket, '/probe')).status, 200);
  assert.equal((await stat(control.runDir)).mode & 0o777, 0o700);
  assert.match(await readFile(join(control.dir, 'first-key'), 'utf8'), /^mcphub_[0-9a-f]{64}\n$/);

  const runtime = createRuntime();
  const snapshots: Snapshot[] = [];
  let heard = () => {};
  const client = new RelayClient({
    runtime,
    limits: limitsFrom({}),
    socketPath: join(control.runDir, 'relay.sock'),
    slot: 1,
    life: 1,
    onSnapshot: (snapshot) => {
      snapshots.push(snapshot);
      heard();
    },
    onSessionRecords: () => {},
  });
  await client.start(runtime.deadline(1000));
  // Keys travel apart from snapshots.
  let keysRevision = 0;
  const twoKeys = Promise.withResolvers<void>();
  const keys = new KeysClient({
    runtime,
    limits: limitsFrom({}),
    socketPath: join(control.runDir, KEYS_SOCKET),
    slot: 1,
    applied: () => ({ keysRevision, revision: snapshots.at(-1)?.revision ?? 0 }),
    onKeys: (frame) => {
      keysRevision = frame.keysRevision;
      if (frame.keys.length === 2) twoKeys.resolve();
    },
  });
  await keys.start(runtime.deadline(1000));
  const until = async (check: (snapshot: Snapshot) => boolean) => {
    while (!snapshots.some(check)) {
      const { promise, resolve } = Promise.withResolvers<void>();
      heard = resolve;
      await promise;
    }
  };
  await until(({ servers, keys }) => servers[0]?.slug === 'one' && keys.length === 1);
  const born = performance.now();
  await get(socket, '/api/keys', 'POST', JSON.stringify({ user: 'ann', name: 'laptop' }));
  await twoKeys.promise;
  assert.ok(performance.now() - born < 1000, 'a key is with the hub within a second');

  await writeFile(join(control.dir, 'mcp_settings.json'), JSON.stringify({ mcpServers: { two: { command: 'x' } } }));
  control.child.send({ t: 'reload' });
  await until(({ servers }) => servers[0]?.slug === 'two');
  await client.stop(runtime.deadline(1000));
  await keys.stop(runtime.deadline(1000));
  control.child.send({ t: 'drain' });
  assert.deepEqual(await control.exited, [0, null]);
});

test('reports an invalid configuration completely, with an exit code that forbids a retry', async (t) => {
  const control = await controlOn(t, { mcpServers: { a: { url: 5 }, b: { comand: 'x' } } });
  const { lines } = await control.word('hopeless');
  const named = lines.filter((line) => line.includes('mcp_settings.json'));
  assert.ok(named.length >= 2 && named.length === lines.length - 1, lines.join('\n'));
  assert.match(lines.at(-1) ?? '', /^Not started: /);
  assert.deepEqual(await control.exited, [78, null]);
});

test('exits with the same code for an invalid first key and a database of a newer version', async (t) => {
  const weak = await controlOn(t, GOOD, { MCPHUB_BOOTSTRAP_KEY: 'admin123' });
  assert.match((await weak.word('hopeless')).lines.join(), /MCPHUB_BOOTSTRAP_KEY is not a key/);
  assert.deepEqual(await weak.exited, [78, null]);
  const { DatabaseSync } = await import('node:sqlite');
  const newer = new DatabaseSync(join(weak.dir, 'mcphub.db'));
  newer.exec('pragma user_version = 99');
  newer.close();
  const old = await controlOn(t, GOOD, { MCPHUB_DATA_DIR: weak.dir });
  assert.match((await old.word('hopeless')).lines.join(), /newer mcphub/);
  assert.deepEqual(await old.exited, [78, null]);
});

test('exits with 1 for a damaged database, so that the supervisor retries', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'mcphub-process-'));
  await writeFile(join(dir, 'mcphub.db'), Buffer.alloc(8192, 0xaa));
  const control = await controlOn(t, GOOD, { MCPHUB_DATA_DIR: dir });
  assert.deepEqual(await control.exited, [1, null]);
  assert.deepEqual(
    control.words.map(({ t }) => t),
    ['configured'],
  );
});

test('reports the configuration first, and waits for the supervisor to have the port', async (t) => {
  const control = await controlOn(t, GOOD, { MCPHUB_FLAGS: '{"port":4999,"workers":3}' }, { go: false });
  const { limits, lines } = await control.word('configured');
  assert.deepEqual([limits.port, limits.workers, lines], [4999, 3, []]);
  assert.equal(limits.hubs, 3, 'the former name, for a supervisor of an earlier version');
  // The process received the order to end before the order to continue.
  control.child.send({ t: 'drain' });
  assert.deepEqual(await control.exited, [0, null]);
  assert.deepEqual(await readdir(control.dir), ['mcp_settings.json']);
});

test('reports invalid command-line flags like any other error', async (t) => {
  const control = await controlOn(t, GOOD, { MCPHUB_FLAGS: '{"port":70000}' });
  assert.match((await control.word('hopeless')).lines.join('\n'), /command line {2}error {2}port {2}is 70000/);
  assert.deepEqual(await control.exited, [78, null]);
});

test('sends the first key to a terminal through the supervisor; exits on SIGTERM or without supervisor', async (t) => {
  const told = await controlOn(t, GOOD, { MCPHUB_TERMINAL: '1', PORT: '3999' });
  assert.match((await told.word('tell')).lines.join('\n'), /http:\/\/localhost:3999\/mcp/);
  await told.word('ready');
  told.child.kill('SIGTERM');
  assert.deepEqual(await told.exited, [0, null]);
  const orphan = await controlOn(t, GOOD);
  await orphan.word('ready');
  orphan.child.disconnect();
  assert.deepEqual(await orphan.exited, [0, null]);
});

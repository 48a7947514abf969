import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'node:test';
import { isAlive, until } from '../../../test/support/hub.ts';
import { serverSpec } from '../../../test/support/stdio-rig.ts';
import { limitsFrom } from '../../config/limits.ts';
import type { HubError } from '../../model/errors.ts';
import { createRuntime } from '../../runtime/runtime.ts';
import { InstallLock } from '../install/install-lock.ts';
import { SearchPath } from '../prepare/search-path.ts';
import { livingMarked } from '../terminate/sweep.ts';
import { Launched } from './launch.ts';

const NOBODY = 65_534;

function launched(script: string, args: string[] = []) {
  const runtime = createRuntime();
  const limits = { ...limitsFrom({}), childTermMs: 300 };
  const said: string[] = [];
  const exits: HubError[] = [];
  const process_ = { command: process.execPath, args: ['-e', script, ...args], env: {}, cwd: undefined };
  const mark = `launch${process.pid}.${Math.random().toString(36).slice(2)}`;
  const server = new Launched({
    ...{ runtime, limits, spec: serverSpec(process_), process: process_, configDir: import.meta.dirname, mark },
    installLock: new InstallLock({ runtime, limits }),
    searchPath: new SearchPath({ runtime, env: process.env }),
    events: {
      said: (line) => said.push(line),
      alive: () => {},
      phase: () => {},
      exited: (fault) => exits.push(fault),
    },
  });
  return {
    ...{ runtime, said, exits, server },
    start: (ms: number) => server.start(runtime.deadline(ms)),
    async [Symbol.asyncDispose]() {
      await server.stop(runtime.deadline(4000));
      assert.deepEqual(await livingMarked(mark), []);
    },
  };
}

const LISTENS = `
  console.log('port', process.argv[1], process.env.PORT);
  setTimeout(() => require('node:http').createServer((q, r) => r.end('hello')).listen(+process.env.PORT, '127.0.0.1'), 200);
`;

test('a launched server is ready when its port takes connections, and gone after the stop', async () => {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: the placeholder of the configuration
  await using rig = launched(LISTENS, ['${PORT}']);
  const { port } = await rig.start(8000);
  assert.equal(await (await fetch(`http://127.0.0.1:${port}/`)).text(), 'hello');
  assert.deepEqual(rig.said, [`port ${port} ${port}`]);
  const pid = rig.server.pid ?? 0;
  await rig.server.stop(rig.runtime.deadline(4000));
  assert.equal(isAlive(pid), false);
  assert.deepEqual(rig.exits, []);
});

test('one that ends before it listens is an exit with its last words', async () => {
  await using rig = launched('console.error("no licence"); process.exit(4)');
  await assert.rejects(rig.start(8000), (fault: HubError) => {
    assert.match(fault.message, /exit code 4[\s\S]*no licence/);
    return fault.code === 'upstream-exit';
  });
});

test('one that runs and does not listen is told at the deadline', async () => {
  await using rig = launched('setInterval(() => {}, 1000)');
  await assert.rejects(rig.start(800), (fault: HubError) => fault.code === 'upstream-connect');
});

test('a death after the start is reported once', async () => {
  await using rig = launched(`${LISTENS}; setTimeout(() => process.exit(5), 900)`);
  await rig.start(8000);
  await until(() => rig.exits.length > 0, 4000, 'the exit');
  assert.equal(rig.exits[0]?.detail.exitCode, 5);
});

// finding: SR-L6
test('a port that another user has taken is refused', { skip: process.getuid?.() !== 0 && 'needs root' }, async () => {
  // The launched program does not listen; a process of another user takes its port.
  const script = 'process.stdout.write("port " + process.env.PORT + "\\n"); setInterval(() => {}, 1000)';
  const taker = 'import socket,sys,time; s=socket.create_server(("127.0.0.1", int(sys.argv[1]))); time.sleep(60)';
  await using rig = launched(script);
  const started = rig.start(8000);
  const refused = assert.rejects(started, (fault: HubError) => {
    assert.match(fault.message, /A process of another user listens/);
    return fault.code === 'upstream-connect';
  });
  await until(() => rig.said.length > 0, 8000, 'the port');
  const other = spawn('python3', ['-c', taker, rig.said[0]?.slice(5) ?? ''], {
    uid: NOBODY,
    cwd: '/',
    stdio: 'ignore',
  });
  try {
    await refused;
  } finally {
    other.kill('SIGKILL');
  }
});

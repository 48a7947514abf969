// runs: about 30 s
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { delay, environOf, isAlive, until } from '../../../../test/support/hub.ts';
import { longestTurnMs } from '../../../../test/support/loop-turns.ts';
import { scaled } from '../../../../test/support/measured.ts';
import { FAULT, Rig, started } from '../../../../test/support/stdio-rig.ts';
import type { HubError } from '../../../model/errors.ts';
import { isRefusal } from '../../../model/outcome.ts';
import type { ProcessSpec } from '../../../model/snapshot.ts';
import { livingMarked } from '../../../subprocess/terminate/sweep.ts';

test('a server answers, and stopping it leaves nobody behind', async () => {
  await using rig = await started(['normal']);
  assert.match(await rig.tool(2, 'add', { a: 2, b: 3 }), /"text":"5"/);
  const pid = rig.transport.pid ?? 0;
  assert.equal(isAlive(pid), true);
  assert.ok((await rig.stop()) < 1500);
  assert.equal(isAlive(pid), false);
  assert.deepEqual(rig.closed, []);
  assert.deepEqual(
    rig.facts.filter((fact) => fact.type.startsWith('child-')).map((fact) => fact.type),
    ['child-started', 'child-exited'],
  );
  assert.equal(isRefusal(rig.send(3, 'ping')), true);
});

test('a message with raw line ends is not cut in two', async () => {
  await using rig = await started(['normal']);
  using deadline = rig.runtime.deadline(1000);
  const frame =
    '{"jsonrpc":"2.0",\r\n"id":5,\n"method":"tools/call",\n"params":{"name":"echo","arguments":{"text":"a\\nb"}}}';
  rig.transport.send(Buffer.from(frame), 5, deadline);
  await until(() => rig.replies.some((reply) => reply.includes('"text":"a\\nb"')), 5000);
  assert.equal(rig.closed.length, 0);
});

test('the child sees the allow-list, its own variables and its mark, and none of the hub’s secrets', async () => {
  process.env.MCPHUB_SECRET = 'not-for-children';
  process.env.DATABASE_URL = 'not-for-children';
  try {
    await using rig = await started(['normal'], { process: { env: { OWN: 'yes' } } });
    const env = environOf(rig.transport.pid ?? 0);
    assert.equal(env.OWN, 'yes');
    assert.equal(env.PATH, process.env.PATH);
    assert.ok(env.MCPHUB_MARK?.startsWith(`${rig.mark}.fault.`));
    assert.ok(!Object.values(env).includes('not-for-children'));
    assert.equal(env.NODE_OPTIONS, undefined);
    assert.equal(env.MCPHUB_SECRET, undefined);
  } finally {
    delete process.env.MCPHUB_SECRET;
    delete process.env.DATABASE_URL;
  }
});

// row B1 · guards src/subprocess/io/stderr-buffer.ts
test('a child that floods stderr is never blocked, and what is shown is capped (B1)', async () => {
  await using rig = await started(['stderr-flood', '1024']);
  for (let id = 10; id < 2010; id += 1) {
    await until(() => !isRefusal(rig.send(id, 'ping')), 3000);
    if (id % 100 === 0) await delay(1);
  }
  await until(() => rig.count >= 2001, 8000, 'all answers');
  const shownBytes = rig.said.reduce((sum, line) => sum + line.length, 0);
  assert.ok(shownBytes < 64 * 1024 * 9, `shown: ${shownBytes}`);
  assert.ok(rig.lifeSigns > 0);
  const tail = rig.transport.stderrTail();
  assert.ok(tail.length > 0 && tail.join('\n').length <= 64 * 1024);
});

test('endless stderr leaves the loop free', async () => {
  await using rig = await started(['stderr-endless']);
  const pauseMs = await longestTurnMs(async () => {
    assert.match(await rig.tool(2, 'echo', { text: 'still here' }), /still here/);
    await delay(500);
  });
  assert.ok(pauseMs < 150, `loop stood still for ${pauseMs} ms`);
});

// row B2 · guards src/subprocess/io/stdin-queue.ts
test('a child that reads nothing is refused more than stdinBytes, then ended and reported once (B2)', async () => {
  await using rig = new Rig(['never-reads-stdin'], { limits: { stdinStuckMs: 1000 } });
  await rig.start();
  const filler = 'x'.repeat(10_000);
  let refused = 0;
  for (let id = 1; id <= 3000; id += 1) {
    const outcome = rig.send(id, 'tools/call', { name: 'echo', arguments: { text: filler } });
    if (isRefusal(outcome)) {
      refused += 1;
      assert.equal(outcome.code, 'upstream-stuck');
      assert.ok(Number(outcome.detail.unreadBytes) <= 2 * 1024 * 1024, 'what is being written, and what waits');
    }
  }
  assert.ok(refused > 2700, `refused ${refused}`);
  const tookMs = await until(() => rig.closed.length > 0, 4000, 'closed');
  assert.ok(tookMs > 500);
  assert.equal(rig.closed[0]?.code, 'upstream-stuck');
  await until(() => !isAlive(rig.transport.pid ?? 0), 2000, 'the child is dead');
  await delay(50);
  assert.equal(rig.closed.length, 1);
});

test('a child that takes a message larger than stdinBytes piece by piece is not stuck', async () => {
  await using rig = await started(['normal']);
  const reply = await rig.tool(2, 'echo', { text: 'y'.repeat(3_000_000) });
  assert.ok(reply.length > 3_000_000);
});

test('a large message on its way is no reason to refuse small ones, in the same turn or later', async () => {
  await using rig = await started(['normal']);
  const large = { name: 'echo', arguments: { text: 'y'.repeat(3_000_000) } };
  const small = { name: 'echo', arguments: { text: 'small' } };
  assert.equal(rig.send(2, 'tools/call', large), undefined);
  assert.equal(rig.send(3, 'tools/call', small), undefined);
  await delay(1);
  assert.equal(rig.send(4, 'tools/call', small), undefined);
  await until(() => rig.replies.filter((reply) => reply.includes('"text":"small"')).length === 2, 5000, 'both answers');
});

// row B3 · guards src/subprocess/spawn/child.ts
test('the exit counts at once although a grandchild holds the pipes (B3)', async () => {
  await using rig = await started(['grandchild']);
  const sleeper = Number(/"text":"(\d+)"/.exec(await rig.tool(2, 'family'))?.[1]);
  assert.equal(isAlive(sleeper), true);
  rig.send(3, 'tools/call', { name: 'crash', arguments: {} });
  const tookMs = await until(() => rig.closed.length > 0, 3000, 'closed');
  assert.ok(tookMs < 1000, `closed after ${tookMs} ms`);
  const fault = rig.closed[0];
  assert.equal(fault?.code, 'upstream-exit');
  assert.match(fault?.message ?? '', /exit code 7[\s\S]*crashing as asked/);
  // It left the group by setsid; the sweep finds it by its mark.
  await until(() => !isAlive(sleeper), 3000, 'the grandchild is dead');
});

// row B4, B6 · guards src/subprocess/terminate/sweep.ts
test('wrappers, group members that ignore SIGTERM and double forks are gone after a stop (B4, B6)', async () => {
  const run = `"${process.execPath}" "${FAULT}"`;
  const wrapped = ['-c', `${run} ignores-sigterm & ${run} family; wait`];
  await using shell = new Rig([], { process: { command: 'sh', args: wrapped } });
  await using setsid = await started(['setsid']);
  await shell.start();
  await until(async () => (await livingMarked(shell.mark)).length >= 4, 5000, 'a family of four');
  await until(async () => (await livingMarked(setsid.mark)).length >= 2, 4000, 'the escaped sleeper');
  await Promise.all([shell.stop(), setsid.stop()]);
  assert.deepEqual(await livingMarked(shell.mark), []);
  assert.deepEqual(await livingMarked(setsid.mark), []);
  assert.ok(setsid.facts.some((fact) => fact.type === 'children-swept' && fact.pids.length > 0));
});

const MINI_HUB = `
  const { Rig } = await import(process.argv[1]);
  const rigs = Array.from({ length: 4 }, () => new Rig(['never-reads-stdin']));
  for (const rig of rigs) await rig.start(5000);
  console.log(JSON.stringify(rigs.map((rig) => rig.transport.pid)));
  setInterval(() => {}, 1000);
`;

/** Returns when its command is executed: the programs before it (setpriv) have finished. */
function runsProgram(pid: number): boolean {
  const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  return command.includes(FAULT) && !command.includes('--pdeathsig');
}

// row B5 · guards src/subprocess/prepare/search-path.ts
test('children die with a hub that is killed (B5)', { skip: process.platform !== 'linux' }, async () => {
  const rigFile = new URL('../../../../test/support/stdio-rig.ts', import.meta.url).href;
  const env = { ...process.env, NODE_TEST_CONTEXT: undefined };
  const hub = spawn(process.execPath, ['--input-type=module', '-e', MINI_HUB, rigFile], { env });
  let printed = '';
  hub.stdout.on('data', (chunk: Buffer) => {
    printed += chunk.toString();
  });
  try {
    await until(() => printed.includes('\n'), 8000, 'the pids');
    const pids = JSON.parse(printed) as number[];
    // The program that becomes the server requests the parent-death signal: if the hub is killed before that, the sweep
    // ends it.
    await until(() => pids.every((pid) => runsProgram(pid)), 8000, 'the servers run');
    assert.ok(pids.length === 4 && pids.every(isAlive));
    hub.kill('SIGKILL');
    await until(() => !pids.some(isAlive), 3000, 'all children dead');
  } finally {
    hub.kill('SIGKILL');
  }
});

test('a child that ignores the end of its input and SIGTERM is killed within the stop’s budget', async () => {
  await using rig = await started(['ignores-sigterm']);
  const tookMs = await rig.stop();
  assert.ok(tookMs > 550 && tookMs < 2500, `took ${tookMs} ms`);
  assert.equal(isAlive(rig.transport.pid ?? 0), false);
  assert.ok(rig.said.includes('SIGTERM? no.'));
});

test('stopping ends by its deadline, twice and at once', async () => {
  await using rig = await started(['ignores-sigterm'], { limits: { childTermMs: 60_000 } });
  const times = await Promise.all([rig.stop(1200), rig.stop(1200)]);
  for (const tookMs of times) assert.ok(tookMs < 1500, `took ${tookMs} ms`);
  await until(() => !isAlive(rig.transport.pid ?? 0), 1000, 'dead');
});

test('a stop that runs out of time still ends what escaped the group', async () => {
  await using rig = await started(['setsid'], { limits: { childTermMs: 60_000 } });
  // Read twice with the same result: the fork that escapes has finished before the sweep looks.
  let before = '';
  await until(
    async () => {
      const pids = (await livingMarked(rig.mark)).sort((a, b) => a - b);
      const same = pids.length >= 2 && pids.join() === before;
      before = pids.join();
      return same;
    },
    4000,
    'the escaped sleeper',
  );
  await rig.stop(0);
  await until(async () => (await livingMarked(rig.mark)).length === 0, 3000, 'nobody left');
});

test('a listener that throws is a fact, not a crash', async () => {
  await using rig = await started(['normal']);
  rig.onMessage = () => {
    throw new Error('a defect of the link');
  };
  rig.send(2, 'ping');
  await until(() => rig.facts.some((fact) => fact.type === 'task-faulted'), 3000, 'the fact');
  rig.onMessage = () => {};
  assert.match(await rig.tool(3, 'echo', { text: 'alive' }), /alive/);
});

// row B8 · guards src/subprocess/prepare/command.ts
test('bad commands are told apart and never crash the hub (B8)', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'mcphub-stdio-'));
  try {
    writeFileSync(join(directory, 'plain.txt'), 'no program', { mode: 0o644 });
    writeFileSync(join(directory, 'broken'), '#!/nowhere/interpreter\n', { mode: 0o755 });
    const cases: [Partial<ProcessSpec>, RegExp, string][] = [
      [{ command: 'no-such-program-here' }, /"no-such-program-here" was not found on PATH /, 'not-found'],
      [{ command: './absent' }, /was not found in /, 'not-found'],
      [{ command: './plain.txt' }, /is not executable/, 'not-executable'],
      [
        { command: 'node', cwd: '/nowhere/at/all' },
        /working directory \/nowhere\/at\/all does not exist/,
        'cwd-missing',
      ],
    ];
    for (const [spec, message, reason] of cases) {
      await using rig = new Rig([], { process: spec, configDir: directory });
      await assert.rejects(rig.start(), (fault: HubError) => {
        assert.equal(fault.code, 'upstream-spawn');
        assert.match(fault.message, message);
        return fault.detail.reason === reason;
      });
    }
    await using rig = new Rig([], { process: { command: './broken' }, configDir: directory });
    await rig.start().catch(() => {});
    if (rig.transport.pid !== undefined) await until(() => rig.closed.length === 1, 3000, 'closed');
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});

test('a child that closes its stdin and lives on is a refusal, then ended and reported (B8)', async () => {
  await using rig = await started(['closes-stdin']);
  await until(() => isRefusal(rig.send(7, 'ping')), 3000, 'a refusal');
  const outcome = rig.send(8, 'ping');
  assert.ok(isRefusal(outcome) && outcome.code === 'server-down');
  await until(() => rig.closed.length > 0, 2000, 'closed');
  assert.equal(rig.closed[0]?.code, 'upstream-gone');
});

test('a child that closes its stdout and lives on is ended and reported', async () => {
  const script = 'require("fs").closeSync(1); setInterval(() => {}, 1000)';
  await using rig = new Rig([], { process: { args: ['-e', script] } });
  await rig.start();
  await until(() => rig.closed.length > 0, 3000, 'closed');
  assert.match(rig.closed[0]?.message ?? '', /closed its stdout/);
});

// row B9 · guards src/upstream/transport/stdio/frames.ts
test('lines that are no messages are skipped and told once a second (B9)', async () => {
  await using rig = await started(['garbage', '10000000']);
  const pauseMs = await longestTurnMs(async () => {
    assert.match(await rig.tool(2, 'echo', { text: 'after garbage' }), /after garbage/);
    assert.match(await rig.tool(3, 'echo', { text: 'once more' }), /once more/);
  });
  assert.ok(pauseMs < 150, `loop stood still for ${pauseMs} ms`);
  const told = rig.said.filter((line) => line.startsWith('stdout: '));
  assert.ok(told.length >= 1 && told.length <= 8, `told ${told.length} times`);
  assert.match(told[0] ?? '', /^stdout: ~~ banner 0\.\d+ no json x+$/);
});

// row B10 · guards src/upstream/transport/stdio/frames.ts
test('a line without end is cut quickly, in bounded memory (B10)', async () => {
  for (const kind of ['zero', 'json']) {
    await using rig = await started(['endless-line', kind]);
    const before = process.memoryUsage().rss;
    const tookMs = await until(() => rig.closed.length > 0, 4000, 'closed');
    assert.ok(tookMs < 1000, `took ${tookMs} ms`);
    assert.equal(rig.closed[0]?.code, 'upstream-too-large');
    assert.equal(rig.closed[0]?.detail.setting, 'stdioLineBytes');
    const grownMiB = (process.memoryUsage().rss - before) / 1024 / 1024;
    // 16 MiB of one line, assembled as it comes, and as much of its chunks that are not collected yet.
    assert.ok(grownMiB < scaled({ ci: 42, long: 34 }), `grew ${grownMiB} MiB`);
  }
});

// row B11 · guards src/protocol/lines.ts
test('a valid huge line arrives without stopping the loop (B11)', async () => {
  /** Returns CPU time of this process until a line of so many bytes has come, ms. */
  const costOf = async (bytes: number): Promise<number> => {
    await using rig = await started(['bigline', String(bytes)]);
    const before = process.cpuUsage();
    const pauseMs = await longestTurnMs(async () => {
      rig.send(2, 'tools/call', { name: 'echo', arguments: {} });
      await until(() => rig.count >= 2, 8000, 'the answer');
    });
    assert.ok(pauseMs < scaled({ ci: 120, long: 50 }), `loop stood still for ${pauseMs} ms`);
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1000;
  };
  await costOf(1_000_000);
  const small = await costOf(2_250_000);
  const large = await costOf(9_000_000);
  // Four times the bytes; a line that is copied for each piece would cost sixteen times as much.
  assert.ok(large < 9 * small, `${large} ms of CPU for four times the bytes of ${small} ms`);
});

// row B12 · guards src/upstream/transport/stdio/frames.ts
test('a flood of notifications is taken in small turns (B12)', async () => {
  await using rig = await started(['notifications', '100000']);
  const pauseMs = await longestTurnMs(async () => {
    assert.match(await rig.tool(2, 'echo', { text: 'after the flood' }), /after the flood/);
  });
  assert.ok(rig.count >= 100_001);
  assert.ok(pauseMs < 100, `loop stood still for ${pauseMs} ms`);
});

test('what a child wrote before it died is handed on before closed', async () => {
  const script = 'process.stdout.write(JSON.stringify({jsonrpc:"2.0",id:9,result:{}})+"\\n",()=>process.exit(3))';
  await using rig = new Rig([], { process: { args: ['-e', script] } });
  await rig.start();
  await until(() => rig.closed.length > 0, 4000, 'closed');
  assert.equal(rig.replies.length, 1);
  assert.equal(rig.closed[0]?.detail.exitCode, 3);
});

test('a crash at once is one closed with the last words', async () => {
  await using rig = new Rig(['crashloop']);
  await rig.start();
  await until(() => rig.closed.length > 0, 4000, 'closed');
  assert.match(rig.closed[0]?.message ?? '', /exit code 1[\s\S]*missing setting/);
});

test('CPU time of a busy silent child grows', { skip: process.platform !== 'linux' }, async () => {
  await using rig = await started(['busy', '2500']);
  rig.send(2, 'tools/call', { name: 'echo', arguments: {} });
  rig.transport.cpuMs();
  await delay(400);
  const before = rig.transport.cpuMs() ?? 0;
  await delay(1500);
  assert.ok((rig.transport.cpuMs() ?? 0) > before + 200);
});

test('a stop while it starts ends the start', async () => {
  await using rig = new Rig(['normal']);
  const start = rig.start();
  await rig.stop();
  await assert.rejects(start);
  assert.deepEqual(rig.closed, []);
});

// row B19 · guards src/subprocess/spawn/child.ts
test('twenty children leave no zombies (B19)', { skip: process.platform !== 'linux' }, async () => {
  const base = new Rig([], { process: { command: 'true', args: [] } });
  const rigs = Array.from({ length: 20 }, () => new Rig([], { share: base, process: { command: 'true', args: [] } }));
  for (const rig of rigs) await rig.start();
  await until(() => rigs.every((rig) => rig.closed.length === 1), 5000, 'all closed');
  // A zombie still has its directory in /proc.
  for (const rig of rigs) assert.equal(existsSync(`/proc/${rig.transport.pid}`), false);
  assert.deepEqual(await livingMarked(base.mark), []);
  await base.stop();
});

/**
 * The supervisor as a process, with fake workers and a fake control process that misbehave on demand.
 * covers: A5, A6, A7, A9, P9, P10
 */
// runs: about 80 s
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { Agent } from 'node:http';
import { connect, createServer } from 'node:net';
import { availableParallelism, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { delay, isAlive, until } from '../../test/support/hub.ts';
import { type Answer, answerOf, type SupervisorRig, startSupervisorRig } from '../../test/support/supervisor-rig.ts';
import { REPEAT_MS } from '../runtime/stop-requests.ts';

/** Far more than needed: the machine that runs the tests may be slow. */
const READY_MS = 40_000;

async function serving(rig: SupervisorRig, hubs = 1): Promise<void> {
  const seen = new Set<number>();
  await until(
    async () => {
      const answer = await rig.ask().catch(() => undefined);
      if (answer?.status === 200) seen.add(answer.body.slot);
      return seen.size === hubs;
    },
    READY_MS,
    'all workers serve',
  );
}

/**
 * Sends requests until another process than `pid` answers; returns the ms until then. Every request must be answered.
 */
async function replaced(rig: SupervisorRig, pid: number): Promise<number> {
  return until(async () => (await rig.ask()).body.pid !== pid, READY_MS, 'another process answers');
}

test('workers get connections in turn, and keep them when the supervisor has closed its copy', async () => {
  await using rig = await startSupervisorRig({ workers: 2 });
  await serving(rig, 2);
  const answers = await Promise.all(Array.from({ length: 60 }, () => rig.ask()));
  const bySlot = [1, 2].map((slot) => answers.filter((answer) => answer.body.slot === slot).length);
  assert.ok(
    // A worker that has not acknowledged its last connection is passed over; shares are even only if workers are
    // equally fast.
    bySlot.every((count) => count >= 6),
    `connections per worker: ${bySlot}`,
  );

  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const over = (path: string) => answerOf({ port: rig.port, host: '127.0.0.1', path, agent });
  const first = await over('/');
  await over('/slow/300');
  assert.equal((await over('/')).body.pid, first.body.pid, 'one connection stays with one worker');
  agent.destroy();
});

test('a connection waits for the first worker, and gets a 503 if none becomes ready', async () => {
  await using late = await startSupervisorRig({ env: { FAKE_READY_MS: '700' } });
  await until(() => canConnect(late.port), READY_MS, 'the port is open');
  assert.equal((await late.ask()).status, 200);

  await using never = await startSupervisorRig({
    env: { FAKE_READY_MS: '60000' },
    limits: { handoverMs: 1000, handoverQueue: 16 },
  });
  await until(() => canConnect(never.port), READY_MS, 'the port is open');
  const answers = await Promise.all(Array.from({ length: 20 }, () => never.ask()));
  for (const { status, headers, body } of answers) {
    assert.equal(status, 503);
    assert.deepEqual([body.id, body.error?.code, body.error?.data?.code], [null, -32005, 'starting']);
    assert.ok(Number(headers['retry-after']) >= 1);
  }
});

test('a connection that a worker has not acknowledged goes to another one when that worker exits', async () => {
  await using rig = await startSupervisorRig({ workers: 2 });
  await serving(rig, 2);
  const one = await untilSlot(rig, 1);
  await rig.request('hub', 1, 'stop');
  await until(() => stateOf(one.body.pid) === 'T', READY_MS, 'the worker is stopped');
  // One of these is pending at worker 1, until that exits.
  const asked = Array.from({ length: 6 }, () => rig.ask());
  await Promise.race(asked);
  process.kill(one.body.pid, 'SIGKILL');
  const answers = await Promise.all(asked);
  assert.ok(answers.every(({ status, body }) => status === 200 && body.pid !== one.body.pid));
});

for (const [misdeed, why] of [
  ['stall', /CPU/],
  ['stop', /state T/],
  ['crash', /code 3/],
] as const) {
  test(`replaces a worker within 8 s, with a crash report, on "${misdeed}", while the other one serves [A6]`, async () => {
    await using rig = await startSupervisorRig({ workers: 2 });
    await serving(rig, 2);
    const { body } = await untilSlot(rig, 1);
    await until(async () => (await rig.heartbeats('hub', 1)) > 3, READY_MS, 'the supervisor receives its heartbeats');
    await rig.request('hub', 1, misdeed);
    const ms = await until(() => !isAlive(body.pid), READY_MS, 'the old process has exited');
    const fresh = await untilSlot(rig, 1, body.pid);
    assert.notEqual(fresh.body.pid, body.pid);
    if (!isCrowded()) assert.ok(ms < 6000, `found after ${ms} ms`);
    const [found] = rig.crashReports();
    assert.match(String(found?.why), why);
    assert.equal(found?.pid, body.pid);
    assert.match(rig.log(), /hub-1 \(pid \d+\) exited: /);
  });
}

test('a worker that is stopped before its first heartbeat is not taken for one that boots', async () => {
  await using rig = await startSupervisorRig({ env: { FAKE_STOP_WHEN_READY: 'hub' } });
  await until(() => rig.crashReports().length > 0, READY_MS, 'a crash report is written');
  const [found] = rig.crashReports();
  assert.match(String(found?.why), /state T/);
  if (!isCrowded()) assert.ok(Number(found?.sinceHeartbeatMs) < 6000, `found after ${found?.sinceHeartbeatMs} ms`);
});

test('a worker that sends heartbeats but answers no probe is asked to exit and replaced', async () => {
  await using rig = await startSupervisorRig({ limits: { probeMs: 500 } });
  await serving(rig);
  const { body } = await rig.ask();
  await rig.request('hub', 1, 'answer-no-probe');
  await replaced(rig, body.pid);
  assert.match(String(rig.crashReports()[0]?.why), /probes/);
});

test('workers keep serving while the control process exits and restarts', async () => {
  await using rig = await startSupervisorRig();
  await serving(rig);
  const { body } = await rig.ask();
  const controls = () => rig.processes().filter((pid) => pid !== body.pid);
  for (let time = 0; time < 3; time += 1) {
    await until(() => existsSync(join(rig.dataDir, 'run', 'control.sock')) && controls().length === 1, READY_MS);
    const [old = -1] = controls();
    process.kill(old, 'SIGKILL');
    await until(() => controls().some((pid) => pid !== old), READY_MS, 'the control process is back');
    assert.equal((await rig.ask()).body.pid, body.pid);
  }
});

test('ends the orphans of a worker that exited, even detached ones', async () => {
  await using rig = await startSupervisorRig();
  await serving(rig);
  const { body } = await rig.ask();
  const before = rig.processes();
  await rig.request('hub', 1, 'orphan');
  const orphans = () => rig.processes().filter((pid) => !before.includes(pid));
  await until(() => orphans().length > 0, READY_MS, 'the orphan runs');
  const [orphan = -1] = orphans();
  process.kill(body.pid, 'SIGKILL');
  await until(() => !isAlive(orphan), READY_MS, 'the orphan has exited');
  await until(() => rig.events('children-swept').length > 0, READY_MS);
});

test('SIGTERM lets responses finish, then removes processes, lock and sockets [A7] [P9]', async () => {
  await using rig = await startSupervisorRig({ workers: 2 });
  await serving(rig, 2);
  const slow = rig.ask('/slow/800');
  // It is handed over when the next ones are answered.
  await rig.ask();
  await rig.ask();
  rig.child.kill('SIGTERM');
  assert.equal((await slow).status, 200);
  assert.deepEqual(await rig.exited, [0, null]);
  assert.deepEqual(rig.processes(), []);
  assert.equal(existsSync(join(rig.dataDir, 'lock')), false);
  assert.deepEqual(
    readdirSync(join(rig.dataDir, 'run')).filter((name) => name.endsWith('.sock')),
    [],
  );
});

test('kills what does not exit in time, at once on a second signal [P9]', async () => {
  await using rig = await startSupervisorRig({ env: { FAKE_DEAF: 'hub' }, limits: { killMs: 1500 } });
  await serving(rig);
  const startedMs = performance.now();
  rig.child.kill('SIGTERM');
  await rig.exited;
  const ms = performance.now() - startedMs;
  assert.ok(ms > 1400, `${ms} ms`);
  if (!isCrowded()) assert.ok(ms < 4000, `${ms} ms`);
  assert.deepEqual(rig.processes(), []);

  await using twice = await startSupervisorRig({ env: { FAKE_DEAF: 'hub' } });
  await serving(twice);
  twice.child.kill('SIGTERM');
  await until(() => twice.events('drain-started').length > 0, READY_MS);
  // An immediate repetition is the same request, passed on by npm.
  twice.child.kill('SIGTERM');
  await delay(REPEAT_MS);
  assert.ok(twice.processes().length > 0, 'the worker still drains');
  twice.child.kill('SIGTERM');
  assert.deepEqual(await twice.exited, [1, null]);
  assert.deepEqual(twice.processes(), []);
});

test('when the supervisor is killed, its processes exit and the next supervisor takes over port and lock [A5]', async () => {
  await using first = await startSupervisorRig();
  await serving(first);
  const processes = first.processes();
  first.child.kill('SIGKILL');
  await first.exited;
  await until(() => processes.every((pid) => !isAlive(pid)), READY_MS, 'no process is left');
  assert.ok(existsSync(join(first.dataDir, 'lock')), 'the lock is still there');
  await using second = await startSupervisorRig({ dataDir: first.dataDir, port: first.port });
  await serving(second);
});

// row G8 · guards src/supervisor/host.ts
test('a second guard on the data directory ends with 78 and names the first, which does not notice [A9]', async () => {
  await using first = await startSupervisorRig();
  await serving(first);
  const { body } = await first.ask();
  await using second = await startSupervisorRig({ dataDir: first.dataDir });
  assert.deepEqual(await second.exited, [78, null]);
  assert.match(second.log(), new RegExp(`pid ${first.pid}\\b`));
  assert.equal((await first.ask()).body.pid, body.pid);
});

test('of several supervisors that start on a stale lock, exactly one wins', async () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'mcphub-guard-'));
  // This process's pid with another start time: a pid that was reused.
  writeFileSync(join(dataDir, 'lock'), JSON.stringify({ pid: process.pid, startTicks: '1' }));
  const rigs = await Promise.all(Array.from({ length: 4 }, () => startSupervisorRig({ dataDir })));
  try {
    await until(() => rigs.filter((rig) => rig.child.exitCode === 78).length >= 3, READY_MS, 'three have exited');
    const winners = rigs.filter((rig) => rig.child.exitCode === null);
    assert.equal(winners.length, 1);
    await serving(winners[0] as SupervisorRig);
  } finally {
    for (const rig of rigs) await rig[Symbol.asyncDispose]();
    rmSync(dataDir, { recursive: true, force: true });
  }
});

test('names the process that holds the port, and exits with 78 [A9]', async () => {
  const holder = createServer().listen(0, '127.0.0.1');
  await once(holder, 'listening');
  const { port } = holder.address() as { port: number };
  await using rig = await startSupervisorRig({ port });
  assert.deepEqual(await rig.exited, [78, null]);
  assert.match(rig.log(), new RegExp(`Port ${port} is in use by pid ${process.pid}\\b`));
  assert.equal(existsSync(join(rig.dataDir, 'lock')), false);
  holder.close();
});

test('prints the errors of an invalid configuration, and exits with 78 [A9]', async () => {
  await using rig = await startSupervisorRig({ env: { FAKE_HOPELESS: 'mcp_settings.json:3 is wrong' } });
  assert.deepEqual(await rig.exited, [78, null]);
  assert.match(rig.log(), /mcp_settings\.json:3 is wrong/);
  assert.deepEqual(rig.processes(), []);
});

// row G7 · guards src/supervisor/liveness-policy.ts
test('a worker in a crash loop is restarted with growing delays and one alarm, while the others serve [A5]', async () => {
  await using rig = await startSupervisorRig({
    workers: 2,
    env: { FAKE_DIE: 'hub-2' },
    limits: { restarts: 2, guardBackoffMs: 50 },
  });
  await serving(rig);
  const delays = () => rig.events('process-died').map(({ restMs }) => Number(restMs));
  await until(() => delays().length >= 7, READY_MS, 'seven exits');
  const seen = delays().slice(0, 7);
  assert.deepEqual(seen.slice(0, 2), [0, 0]);
  for (const [at, step] of [50, 100, 200, 400, 800].entries()) {
    const restMs = seen[at + 2] ?? 0;
    assert.ok(restMs >= step * 0.75 && restMs <= step, `delays of ${seen} ms`);
  }
  assert.equal(rig.events('crash-loop-found').length, 1);
  assert.equal((await rig.ask()).body.slot, 1);
});

test('gives up when the control process exits three times before it has read the configuration', async () => {
  await using rig = await startSupervisorRig({ env: { FAKE_DIE: 'control-0' } });
  assert.deepEqual(await rig.exited, [1, null]);
  assert.match(rig.log(), /Not started: the control process exited 3 times/);
  assert.deepEqual(rig.processes(), []);
  assert.equal(existsSync(join(rig.dataDir, 'lock')), false);
});

test('SIGUSR2 replaces the workers one at a time while every request is answered', async () => {
  await using rig = await startSupervisorRig({ workers: 2 });
  await serving(rig, 2);
  const old = (await Promise.all([untilSlot(rig, 1), untilSlot(rig, 2)])).map(({ body }) => body.pid);
  rig.child.kill('SIGUSR2');
  const answers: Answer[] = [];
  await until(
    async () => {
      answers.push(await rig.ask());
      return old.every((pid) => !isAlive(pid)) && rig.events('rolling-ended').length > 0;
    },
    READY_MS,
    'both are replaced',
  );
  assert.ok(answers.every(({ status }) => status === 200));
});

test('the run directory is closed to other users', async () => {
  await using rig = await startSupervisorRig();
  await serving(rig);
  assert.equal(statSync(join(rig.dataDir, 'run')).mode & 0o777, 0o700);
});

async function untilSlot(rig: SupervisorRig, slot: number, notPid = -1): Promise<Answer> {
  let found: Answer | undefined;
  await until(
    async () => {
      const answer = await rig.ask();
      if (answer.body.slot === slot && answer.body.pid !== notPid) found = answer;
      return found !== undefined;
    },
    READY_MS,
    `worker ${slot} answers`,
  );
  return found as Answer;
}

/** More processes are runnable than there are CPUs: durations say nothing about the supervisor. */
function isCrowded(): boolean {
  return (loadavg()[0] ?? 0) > availableParallelism();
}

function stateOf(pid: number): string | undefined {
  return /\) (\w)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[1];
}

function canConnect(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}

/**
 * The guard as a process over fake hubs and a fake control that misbehave on demand.
 * covers: A5, A6, A7, A9, P9, P10
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { Agent } from 'node:http';
import { connect, createServer } from 'node:net';
import { availableParallelism, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { delay, isAlive, until } from '../../test/support/hub.ts';
import { type Answer, answerOf, type GuardRig, guardRig } from '../../test/support/supervisor-rig.ts';
import { REPEAT_MS } from '../kernel/stop-requests.ts';

/** Far more than it takes: a machine that tests share may be slow, and slowness is not what is tested here. */
const READY_MS = 40_000;

async function serving(rig: GuardRig, hubs = 1): Promise<void> {
  const seen = new Set<number>();
  await until(
    async () => {
      const answer = await rig.ask().catch(() => undefined);
      if (answer?.status === 200) seen.add(answer.body.slot);
      return seen.size === hubs;
    },
    READY_MS,
    'all hubs serve',
  );
}

/** Asks until something else than `pid` answers, and returns the ms that took; every answer on the way must be one. */
async function replaced(rig: GuardRig, pid: number): Promise<number> {
  return until(async () => (await rig.ask()).body.pid !== pid, READY_MS, 'another process answers');
}

test('connections are handed to the hubs in turn, and live on when the guard has closed its copy', async () => {
  await using rig = await guardRig({ hubs: 2 });
  await serving(rig, 2);
  const answers = await Promise.all(Array.from({ length: 60 }, () => rig.ask()));
  const bySlot = [1, 2].map((slot) => answers.filter((answer) => answer.body.slot === slot).length);
  assert.ok(
    // A hub that has not taken its last one yet is passed over, so that shares are even only where hubs are equally quick.
    bySlot.every((count) => count >= 6),
    `shares of the hubs: ${bySlot}`,
  );

  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const over = (path: string) => answerOf({ port: rig.port, host: '127.0.0.1', path, agent });
  const first = await over('/');
  await over('/slow/300');
  assert.equal((await over('/')).body.pid, first.body.pid, 'one connection is one hub');
  agent.destroy();
});

test('a connection that comes before a hub is there waits for it, and gets 503 when none comes', async () => {
  await using late = await guardRig({ env: { FAKE_READY_MS: '700' } });
  await until(() => canConnect(late.port), READY_MS, 'the port is open');
  assert.equal((await late.ask()).status, 200);

  await using never = await guardRig({
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

test('a connection that its hub never took goes to another when that hub dies', async () => {
  await using rig = await guardRig({ hubs: 2 });
  await serving(rig, 2);
  const one = await untilSlot(rig, 1);
  await rig.bid('hub', 1, 'stop');
  await until(() => stateOf(one.body.pid) === 'T', READY_MS, 'it is stopped');
  // One of these is on its way to hub 1, and only its death frees it.
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
  test(`a hub that does "${misdeed}" is replaced within 8 s with evidence, and the other serves meanwhile [A6]`, async () => {
    await using rig = await guardRig({ hubs: 2 });
    await serving(rig, 2);
    const { body } = await untilSlot(rig, 1);
    await until(async () => (await rig.beats('hub', 1)) > 3, READY_MS, 'the guard hears its beat');
    await rig.bid('hub', 1, misdeed);
    const ms = await until(() => !isAlive(body.pid), READY_MS, 'the old one is gone');
    const fresh = await untilSlot(rig, 1, body.pid);
    assert.notEqual(fresh.body.pid, body.pid);
    if (!isCrowded()) assert.ok(ms < 6000, `found after ${ms} ms`);
    const [found] = rig.evidence();
    assert.match(String(found?.why), why);
    assert.equal(found?.pid, body.pid);
    assert.match(rig.log(), /hub-1 \(pid \d+\) is gone/);
  });
}

test('a hub that is stopped before its first beat was heard is not taken for one that boots', async () => {
  await using rig = await guardRig({ env: { FAKE_STOP_WHEN_READY: 'hub' } });
  await until(() => rig.evidence().length > 0, READY_MS, 'it was found');
  const [found] = rig.evidence();
  assert.match(String(found?.why), /state T/);
  if (!isCrowded()) assert.ok(Number(found?.sinceBeatMs) < 6000, `found after ${found?.sinceBeatMs} ms`);
});

test('a hub that beats but answers no probe is asked to end and replaced', async () => {
  await using rig = await guardRig({ limits: { probeMs: 500 } });
  await serving(rig);
  const { body } = await rig.ask();
  await rig.bid('hub', 1, 'answer-no-probe');
  await replaced(rig, body.pid);
  assert.match(String(rig.evidence()[0]?.why), /probes/);
});

test('control may die as often as it likes: hubs go on, and it comes back', async () => {
  await using rig = await guardRig();
  await serving(rig);
  const { body } = await rig.ask();
  const controls = () => rig.parts().filter((pid) => pid !== body.pid);
  for (let time = 0; time < 3; time += 1) {
    await until(() => existsSync(join(rig.dataDir, 'run', 'control.sock')) && controls().length === 1, READY_MS);
    const [old = -1] = controls();
    process.kill(old, 'SIGKILL');
    await until(() => controls().some((pid) => pid !== old), READY_MS, 'control is back');
    assert.equal((await rig.ask()).body.pid, body.pid);
  }
});

test('what a dead hub left behind is swept, however it hid', async () => {
  await using rig = await guardRig();
  await serving(rig);
  const { body } = await rig.ask();
  const before = rig.parts();
  await rig.bid('hub', 1, 'orphan');
  const orphans = () => rig.parts().filter((pid) => !before.includes(pid));
  await until(() => orphans().length > 0, READY_MS, 'the orphan lives');
  const [orphan = -1] = orphans();
  process.kill(body.pid, 'SIGKILL');
  await until(() => !isAlive(orphan), READY_MS, 'the orphan is gone');
  await until(() => rig.events('children-swept').length > 0, READY_MS);
});

test('SIGTERM lets answers finish, then all is gone: processes, lock, sockets [A7] [P9]', async () => {
  await using rig = await guardRig({ hubs: 2 });
  await serving(rig, 2);
  const slow = rig.ask('/slow/800');
  // It has been handed over when the next one is answered.
  await rig.ask();
  await rig.ask();
  rig.child.kill('SIGTERM');
  assert.equal((await slow).status, 200);
  assert.deepEqual(await rig.exited, [0, null]);
  assert.deepEqual(rig.parts(), []);
  assert.equal(existsSync(join(rig.dataDir, 'lock')), false);
  assert.deepEqual(
    readdirSync(join(rig.dataDir, 'run')).filter((name) => name.endsWith('.sock')),
    [],
  );
});

test('what does not end is killed when its time is over, and a second signal does not wait for that [P9]', async () => {
  await using rig = await guardRig({ env: { FAKE_DEAF: 'hub' }, limits: { killMs: 1500 } });
  await serving(rig);
  const bornMs = performance.now();
  rig.child.kill('SIGTERM');
  await rig.exited;
  const ms = performance.now() - bornMs;
  assert.ok(ms > 1400, `${ms} ms`);
  if (!isCrowded()) assert.ok(ms < 4000, `${ms} ms`);
  assert.deepEqual(rig.parts(), []);

  await using twice = await guardRig({ env: { FAKE_DEAF: 'hub' } });
  await serving(twice);
  twice.child.kill('SIGTERM');
  await until(() => twice.events('drain-started').length > 0, READY_MS);
  // A repetition at once is the same request, which npm has passed on.
  twice.child.kill('SIGTERM');
  await delay(REPEAT_MS);
  assert.ok(twice.parts().length > 0, 'it still drains');
  twice.child.kill('SIGTERM');
  assert.deepEqual(await twice.exited, [1, null]);
  assert.deepEqual(twice.parts(), []);
});

test('the guard is killed: its parts end by themselves, and the next one takes port and lock over [A5]', async () => {
  await using first = await guardRig();
  await serving(first);
  const parts = first.parts();
  first.child.kill('SIGKILL');
  await first.exited;
  await until(() => parts.every((pid) => !isAlive(pid)), READY_MS, 'no part is left');
  assert.ok(existsSync(join(first.dataDir, 'lock')), 'nobody removed the lock');
  await using second = await guardRig({ dataDir: first.dataDir, port: first.port });
  await serving(second);
});

// row G8 · guards src/supervisor/host.ts
test('a second guard on the data directory ends with 78 and names the first, which does not notice [A9]', async () => {
  await using first = await guardRig();
  await serving(first);
  const { body } = await first.ask();
  await using second = await guardRig({ dataDir: first.dataDir });
  assert.deepEqual(await second.exited, [78, null]);
  assert.match(second.log(), new RegExp(`pid ${first.pid}\\b`));
  assert.equal((await first.ask()).body.pid, body.pid);
});

test('of many that start at once on a stale lock exactly one wins', async () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'mcphub-guard-'));
  // This process's number with another birth: a number that was given again.
  writeFileSync(join(dataDir, 'lock'), JSON.stringify({ pid: process.pid, startTicks: '1' }));
  const rigs = await Promise.all(Array.from({ length: 4 }, () => guardRig({ dataDir })));
  try {
    await until(() => rigs.filter((rig) => rig.child.exitCode === 78).length >= 3, READY_MS, 'three gave up');
    const winners = rigs.filter((rig) => rig.child.exitCode === null);
    assert.equal(winners.length, 1);
    await serving(winners[0] as GuardRig);
  } finally {
    for (const rig of rigs) await rig[Symbol.asyncDispose]();
    rmSync(dataDir, { recursive: true, force: true });
  }
});

test('a port in use is told with who holds it, and ends with 78 [A9]', async () => {
  const holder = createServer().listen(0, '127.0.0.1');
  await once(holder, 'listening');
  const { port } = holder.address() as { port: number };
  await using rig = await guardRig({ port });
  assert.deepEqual(await rig.exited, [78, null]);
  assert.match(rig.log(), new RegExp(`Port ${port} is in use by pid ${process.pid}\\b`));
  assert.equal(existsSync(join(rig.dataDir, 'lock')), false);
  holder.close();
});

test('a configuration that cannot work is told and ends everything with 78 [A9]', async () => {
  await using rig = await guardRig({ env: { FAKE_HOPELESS: 'mcp_settings.json:3 is wrong' } });
  assert.deepEqual(await rig.exited, [78, null]);
  assert.match(rig.log(), /mcp_settings\.json:3 is wrong/);
  assert.deepEqual(rig.parts(), []);
});

// row G7 · guards src/supervisor/liveness-policy.ts
test('a hub that cannot live gets growing rests and one alarm, while the others serve [A5]', async () => {
  await using rig = await guardRig({
    hubs: 2,
    env: { FAKE_DIE: 'hub-2' },
    limits: { restarts: 2, guardBackoffMs: 50 },
  });
  await serving(rig);
  const rests = () => rig.events('process-died').map(({ restMs }) => Number(restMs));
  await until(() => rests().length >= 7, READY_MS, 'seven deaths');
  const seen = rests().slice(0, 7);
  assert.deepEqual(seen.slice(0, 2), [0, 0]);
  for (const [at, step] of [50, 100, 200, 400, 800].entries()) {
    const restMs = seen[at + 2] ?? 0;
    assert.ok(restMs >= step * 0.75 && restMs <= step, `rests of ${seen} ms`);
  }
  assert.equal(rig.events('crash-loop-found').length, 1);
  assert.equal((await rig.ask()).body.slot, 1);
});

test('a control that ends before it has read the configuration is no reason to try for ever', async () => {
  await using rig = await guardRig({ env: { FAKE_DIE: 'control-0' } });
  assert.deepEqual(await rig.exited, [1, null]);
  assert.match(rig.log(), /Not started: control ended 3 times/);
  assert.deepEqual(rig.parts(), []);
  assert.equal(existsSync(join(rig.dataDir, 'lock')), false);
});

test('SIGUSR2 replaces the hubs one by one while every request is answered', async () => {
  await using rig = await guardRig({ hubs: 2 });
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

test('the run directory is closed to others', async () => {
  await using rig = await guardRig();
  await serving(rig);
  assert.equal(statSync(join(rig.dataDir, 'run')).mode & 0o777, 0o700);
});

async function untilSlot(rig: GuardRig, slot: number, notPid = -1): Promise<Answer> {
  let found: Answer | undefined;
  await until(
    async () => {
      const answer = await rig.ask();
      if (answer.body.slot === slot && answer.body.pid !== notPid) found = answer;
      return found !== undefined;
    },
    READY_MS,
    `hub ${slot} answers`,
  );
  return found as Answer;
}

/** More wants to run than can: times say nothing about the guard. */
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

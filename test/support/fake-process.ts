/**
 * A hub or control for tests of the guard: control says what the configuration says (the rig's own limits); both beat, answer probes, take
 * connections, and misbehave when asked on their private socket (`GET /do/<what>`) or by their environment (FAKE_READY_MS,
 * FAKE_STOP_WHEN_READY, FAKE_HOPELESS, FAKE_DEAF, FAKE_DIE=hub-1, FAKE_HEIR=dies).
 */
import { spawn } from 'node:child_process';
import { renameSync } from 'node:fs';
import { createServer, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { limitsFrom } from '../../src/config/limits.ts';
import { bootSocketNames, GUARD_ENV, type GuardWord, socketName } from '../../src/kernel/supervisor-messages.ts';

const { env } = process;
const role = env[GUARD_ENV.role] === 'control' ? 'control' : 'hub';
const slot = Number(env[GUARD_ENV.slot]);
const isDeaf = env.FAKE_DEAF === role;
let answersProbes = true;
let inside = 0;
/** Beats that were written to somebody. */
let beats = 0;
let ending = false;

function endWhenIdle(): void {
  ending = true;
  if (inside === 0) process.exit(0);
}

const misdeeds: Readonly<Record<string, () => void>> = {
  stall: () => {
    for (;;) Math.sqrt(2);
  },
  stop: () => process.kill(process.pid, 'SIGSTOP'),
  crash: () => process.exit(3),
  // Two forks and a session of its own: only the mark in its environment leads back here.
  orphan: () => {
    spawn('sh', ['-c', 'setsid sleep 300 >/dev/null 2>&1 & exit 0'], { stdio: 'ignore', detached: true });
  },
};

function beat(response: ServerResponse): void {
  const line = () => {
    beats += 1;
    response.write(`${JSON.stringify({ pid: process.pid, last: 'as always' })}\n`);
  };
  response.writeHead(200);
  line();
  const timer = setInterval(line, 250);
  response.on('close', () => clearInterval(timer));
}

const door = createServer((request, response) => {
  const { url = '' } = request;
  if (url === '/beat') return beat(response);
  if (url === '/probe' && !answersProbes) return;
  const what = url.replace('/do/', '');
  if (what === 'answer-no-probe') answersProbes = false;
  response.end(JSON.stringify({ beats }));
  const misdeed = misdeeds[what];
  // The answer shall be out before.
  if (misdeed) setTimeout(misdeed, 20);
});
door.on('error', () => process.exit(4));

const front = createServer((request, response) => {
  inside += 1;
  const ms = Number(/^\/slow\/(\d+)/.exec(request.url ?? '')?.[1] ?? 0);
  setTimeout(() => response.end(JSON.stringify({ slot, pid: process.pid })), ms);
  response.on('close', () => {
    inside -= 1;
    if (ending && inside === 0) process.exit(0);
  });
});

process.on('message', (word: GuardWord, socket: unknown) => {
  if (word.t === 'drain' || word.t === 'leave') return isDeaf ? undefined : endWhenIdle();
  if (word.t !== 'connection') return;
  if (socket) {
    front.emit('connection', socket);
    (socket as Socket).resume();
  }
  process.send?.({ t: 'taken', n: word.n });
});
process.on('SIGTERM', () => (isDeaf ? undefined : endWhenIdle()));
process.on('SIGINT', () => {});
process.on('disconnect', () => process.exit(1));

/** No beat was heard by then. */
function stopIfTold(): void {
  if (env.FAKE_STOP_WHEN_READY === role) process.kill(process.pid, 'SIGSTOP');
}

if (env.FAKE_DIE === `${role}-${slot}`) process.exit(3);
if (role === 'control' && env.FAKE_HOPELESS) {
  process.send?.({ t: 'hopeless', lines: [env.FAKE_HOPELESS] }, () => process.exit(78));
} else {
  const limits = limitsFrom(JSON.parse(env[GUARD_ENV.flags] ?? '{}'));
  if (role === 'control') process.send?.({ t: 'configured', limits, lines: [] });
  const runDir = env[GUARD_ENV.runDir] ?? '.';
  const isHeir = env[GUARD_ENV.heir] === '1';
  const [, name] = bootSocketNames(process.pid);
  // As a hub does: the name leads to an heir when it serves.
  const takeName = (): void => renameSync(join(runDir, name), join(runDir, socketName(role, slot)));
  door.listen(join(runDir, name), () => {
    if (!isHeir) takeName();
    if (isHeir && env.FAKE_HEIR === 'dies') process.exit(3);
    setTimeout(
      () => {
        if (isHeir) takeName();
        process.send?.({ t: 'ready', ms: 1 }, stopIfTold);
      },
      Number(env.FAKE_READY_MS ?? 0),
    );
  });
}

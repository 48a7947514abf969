/**
 * A worker or control process for tests of the supervisor: the control process reports the rig's own limits as its
 * configuration; both send heartbeats, answer probes, take connections, and misbehave when asked on their private
 * socket (`GET /do/<what>`) or by their environment (FAKE_READY_MS, FAKE_STOP_WHEN_READY, FAKE_HOPELESS, FAKE_DEAF,
 * FAKE_DIE=hub-1, FAKE_HEIR=dies).
 */
import { spawn } from 'node:child_process';
import { renameSync } from 'node:fs';
import { createServer, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { limitsFrom } from '../../src/config/limits.ts';
import {
  bootSocketNames,
  PROCESS_ENV,
  type SupervisorMessage,
  socketName,
} from '../../src/model/supervisor-messages.ts';

const { env } = process;
const role = env[PROCESS_ENV.role] === 'control' ? 'control' : 'hub';
const slot = Number(env[PROCESS_ENV.slot]);
const ignoresSignals = env.FAKE_DEAF === role;
let answersProbes = true;
let inside = 0;
/** Heartbeats that were sent. */
let beats = 0;
let ending = false;

/** A connection that was taken may still bring its request, as at a worker. */
const IDLE_MS = 250;

function exitWhenIdle(): void {
  ending = true;
  setTimeout(() => {
    if (inside === 0) process.exit(0);
  }, IDLE_MS);
}

const misdeeds: Readonly<Record<string, () => void>> = {
  stall: () => {
    for (;;) Math.sqrt(2);
  },
  stop: () => process.kill(process.pid, 'SIGSTOP'),
  crash: () => process.exit(3),
  // Two forks and a session of its own: only the mark in its environment connects it with this process.
  orphan: () => {
    spawn('sh', ['-c', 'setsid sleep 300 >/dev/null 2>&1 & exit 0'], { stdio: 'ignore', detached: true });
  },
};

function sendHeartbeats(response: ServerResponse): void {
  const line = () => {
    beats += 1;
    response.write(`${JSON.stringify({ pid: process.pid, last: 'as always' })}\n`);
  };
  response.writeHead(200);
  line();
  const timer = setInterval(line, 250);
  response.on('close', () => clearInterval(timer));
}

const privateServer = createServer((request, response) => {
  const { url = '' } = request;
  if (url === '/beat') return sendHeartbeats(response);
  if (url === '/probe' && !answersProbes) return;
  const what = url.replace('/do/', '');
  if (what === 'answer-no-probe') answersProbes = false;
  response.end(JSON.stringify({ beats }));
  const misdeed = misdeeds[what];
  // After the response has been sent.
  if (misdeed) setTimeout(misdeed, 20);
});
privateServer.on('error', () => process.exit(4));

const front = createServer((request, response) => {
  inside += 1;
  const ms = Number(/^\/slow\/(\d+)/.exec(request.url ?? '')?.[1] ?? 0);
  setTimeout(() => response.end(JSON.stringify({ slot, pid: process.pid })), ms);
  response.on('close', () => {
    inside -= 1;
    if (ending && inside === 0) exitWhenIdle();
  });
});

process.on('message', (message: SupervisorMessage, socket: unknown) => {
  if (message.t === 'drain' || message.t === 'leave') return ignoresSignals ? undefined : exitWhenIdle();
  if (message.t !== 'connection') return;
  if (socket) {
    front.emit('connection', socket);
    (socket as Socket).resume();
  }
  process.send?.({ t: 'taken', n: message.n });
});
process.on('SIGTERM', () => (ignoresSignals ? undefined : exitWhenIdle()));
process.on('SIGINT', () => {});
process.on('disconnect', () => process.exit(1));

/** Stops before the first heartbeat is read. */
function stopIfAsked(): void {
  if (env.FAKE_STOP_WHEN_READY === role) process.kill(process.pid, 'SIGSTOP');
}

if (env.FAKE_DIE === `${role}-${slot}`) process.exit(3);
if (role === 'control' && env.FAKE_HOPELESS) {
  process.send?.({ t: 'hopeless', lines: [env.FAKE_HOPELESS] }, () => process.exit(78));
} else {
  const limits = limitsFrom(JSON.parse(env[PROCESS_ENV.flags] ?? '{}'));
  if (role === 'control') process.send?.({ t: 'configured', limits, lines: [] });
  const runDir = env[PROCESS_ENV.runDir] ?? '.';
  const isReplacement = env[PROCESS_ENV.replacement] === '1';
  const [, name] = bootSocketNames(process.pid);
  // As a worker does: the name leads to a replacement when that is ready.
  const takeName = (): void => renameSync(join(runDir, name), join(runDir, socketName(role, slot)));
  privateServer.listen(join(runDir, name), () => {
    if (!isReplacement) takeName();
    if (isReplacement && env.FAKE_HEIR === 'dies') process.exit(3);
    setTimeout(
      () => {
        if (isReplacement) takeName();
        process.send?.({ t: 'ready', ms: 1 }, stopIfAsked);
      },
      Number(env.FAKE_READY_MS ?? 0),
    );
  });
}

/**
 * A process with the telemetry room and nothing else, for tests of its edges: it says as many facts as it is told, or
 * stalls, and reports over IPC how its loop fared. Its stdout is whatever the test gives it.
 * Does not: serve anything.
 */
import { LIMITS } from '../../src/config/limits.ts';
import { createSystemTimers, type Timers } from '../../src/runtime/clock.ts';
import { createRuntime, systemRuntimeOptions } from '../../src/runtime/runtime.ts';
import { createTelemetry } from '../../src/telemetry/telemetry.ts';

export type ChildOrder =
  | { readonly t: 'say'; readonly lines: number; readonly aTurn: number }
  | { readonly t: 'stall'; readonly how: 'loop' | 'pattern' | 'timers'; readonly ms: number }
  | { readonly t: 'counts' };

export type ChildWord =
  | { readonly t: 'ready'; readonly pid: number; readonly rssBytes: number }
  | { readonly t: 'said'; readonly gapMs: number; readonly rssBytes: number }
  | { readonly t: 'counted'; readonly counts: Readonly<Record<string, number>>; readonly last: string };

const GRACE_MS = 900;
const BEAT_MS = 10;

const system = createSystemTimers();
/** As under a flood of ready sockets: input is handled, but no timer runs. */
let areTimersLate = false;
const every: Timers['every'] = (ms, fn, jitter) => system.every(ms, () => (areTimersLate ? undefined : fn()), jitter);
const runtime = createRuntime({ ...systemRuntimeOptions, timers: { ...system, every } });
const telemetry = createTelemetry({
  runtime,
  role: 'hub',
  slot: 1,
  limits: { logBytes: LIMITS.logBytes.default },
  env: process.env,
  runDir: process.env.RUN_DIR ?? '.',
  version: '0.0.0',
});
await telemetry.start(runtime.deadline(GRACE_MS));

let beatMs = performance.now();
let gapMs = 0;
setInterval(() => {
  const nowMs = performance.now();
  gapMs = Math.max(gapMs, nowMs - beatMs);
  beatMs = nowMs;
}, BEAT_MS);

function send(word: ChildWord): void {
  process.send?.(word);
}

function say(left: number, aTurn: number, from = 0): void {
  const upTo = Math.min(from + aTurn, left);
  for (let n = from; n < upTo; n += 1) {
    if (n % 2 === 0)
      runtime.bus.publish({ type: 'server-said', server: 'talker', line: `line ${n} ${'x'.repeat(150)}` });
    else
      runtime.bus.publish({
        type: 'call-answered',
        requestId: `line ${n} `,
        method: 'tools/call',
        user: 'ada',
        server: 'talker',
        tool: 'echo',
        ms: 1.5,
        bytes: 10,
        outcome: 'ok',
      });
  }
  if (upTo < left) setImmediate(() => say(left, aTurn, upTo));
  else setTimeout(() => send({ t: 'said', gapMs, rssBytes: process.memoryUsage.rss() }), BEAT_MS * 2);
}

function guiltyLoop(ms: number): void {
  const untilMs = performance.now() + ms;
  while (performance.now() < untilMs);
}

function guiltyPattern(): boolean {
  return /^(a+)+$/.test(`${'a'.repeat(60)}b`);
}

process.on('message', (order: ChildOrder) => {
  if (order.t === 'say') say(order.lines, order.aTurn);
  else if (order.t === 'counts') send({ t: 'counted', counts: telemetry.counts(), last: telemetry.lastFacts() });
  else if (order.how === 'timers') areTimersLate = true;
  else if (order.how === 'loop') guiltyLoop(order.ms);
  else guiltyPattern();
});

process.on('SIGTERM', () => {
  void telemetry.stop(runtime.deadline(GRACE_MS)).then(() => process.exit(0));
});
send({ t: 'ready', pid: process.pid, rssBytes: process.memoryUsage.rss() });

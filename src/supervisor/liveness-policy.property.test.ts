/**
 * The decision table for every observation there can be: what it never does, and what it always does.
 */
// covers: P10
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decideLiveness, type Observation, unexplainedWaitMs } from './liveness-policy.ts';

const BOOT_MS = 20_000;
const LIMITS = {
  beatMs: 3000,
  beatCpuMs: 1500,
  handoverMs: 10_000,
  busyProbeMs: 2000,
  heartbeatEndMs: 15_000,
};

const ms = (max: number) => fc.double({ min: 0, max, noNaN: true });
const observation: fc.Arbitrary<Observation> = fc.record({
  sinceHeartbeatMs: ms(120_000),
  booting: fc.boolean(),
  cpuMs: fc.option(ms(120_000), { nil: undefined }),
  waitedForCpuMs: ms(120_000),
  state: fc.option(fc.constantFrom('R', 'S', 'D', 'T', 't', 'Z', 'I'), { nil: undefined }),
  kernelFunction: fc.constantFrom(
    '',
    '0',
    'ep_poll',
    'futex_wait_queue',
    'wait_woken',
    'pipe_write',
    'anon_pipe_write',
  ),
  failedProbes: fc.nat(10),
  probeMs: fc.oneof(ms(10_000), fc.constant(Infinity)),
  loopAdvancedMs: fc.oneof(ms(10_000), fc.constant(Infinity)),
  unacknowledgedMs: ms(60_000),
  supervisorLateMs: fc.double({ min: -500, max: 60_000, noNaN: true }),
});

/** A process that sends heartbeats and works. */
const FINE: Observation = {
  sinceHeartbeatMs: 900,
  booting: false,
  cpuMs: 20,
  waitedForCpuMs: 0,
  state: 'S',
  kernelFunction: 'ep_poll',
  failedProbes: 0,
  probeMs: 5,
  loopAdvancedMs: Infinity,
  unacknowledgedMs: 0,
  supervisorLateMs: 0,
};

test('nothing is killed or ended while a lack of CPU or a late supervisor explains the silence', () => {
  fc.assert(
    fc.property(observation, (seen) => {
      const allowedMs = seen.booting ? BOOT_MS : LIMITS.beatMs;
      const explainedMs = seen.waitedForCpuMs + Math.max(0, seen.supervisorLateMs);
      const silent = seen.sinceHeartbeatMs >= allowedMs;
      fc.pre(seen.supervisorLateMs > 1500 || (silent && seen.sinceHeartbeatMs - explainedMs < allowedMs));
      assert.equal(decideLiveness(seen, LIMITS, BOOT_MS).act, 'none');
    }),
    { numRuns: 5000 },
  );
});

// row F10 · guards src/supervisor/liveness-policy.ts
test('a process that is ready to run and got no CPU is left alone, however long that lasts', () => {
  fc.assert(
    fc.property(observation, ms(1499), (seen, cpuMs) => {
      const starved = { ...seen, state: 'R', kernelFunction: '', cpuMs, failedProbes: 0, unacknowledgedMs: 0 };
      assert.equal(decideLiveness(starved, LIMITS, BOOT_MS).act, 'none');
    }),
    { numRuns: 2000 },
  );
});

test('the time of a probe counts only as far as the process and the supervisor had a CPU', () => {
  fc.assert(
    fc.property(
      ms(60_000),
      ms(60_000),
      ms(60_000),
      ms(60_000),
      (hadMs, waitedForCpuMs, supervisorWaitedForCpuMs, cpuMs) => {
        const asked = {
          waitedForCpuMs,
          supervisorWaitedForCpuMs,
          elapsedMs: hadMs + waitedForCpuMs + supervisorWaitedForCpuMs,
        };
        const close = (is: number, expected: number): void => assert.ok(Math.abs(is - expected) < 0.001);
        close(unexplainedWaitMs({ ...asked, cpuMs, state: 'S' }), hadMs);
        close(unexplainedWaitMs({ ...asked, cpuMs: undefined, state: undefined }), hadMs);
        // A wait that has not ended is not measured yet.
        close(unexplainedWaitMs({ ...asked, cpuMs, state: 'R' }), Math.min(hadMs, cpuMs));
      },
    ),
    { numRuns: 1000 },
  );
});

test('a process is killed only after the allowed silence, and asked to exit only before it', () => {
  fc.assert(
    fc.property(observation, (seen) => {
      const { act } = decideLiveness(seen, LIMITS, BOOT_MS);
      const allowedMs = seen.booting ? BOOT_MS : LIMITS.beatMs;
      if (act === 'kill') assert.ok(seen.sinceHeartbeatMs >= allowedMs);
      if (act === 'end') assert.ok(seen.sinceHeartbeatMs < allowedMs);
    }),
    { numRuns: 5000 },
  );
});

test('a stalled process is killed as soon as it has had enough CPU time to send a heartbeat', () => {
  fc.assert(
    fc.property(ms(60_000), ms(60_000), ms(1400), (runMs, waitedForCpuMs, supervisorLateMs) => {
      const seen = { ...FINE, state: 'R', kernelFunction: '', cpuMs: runMs, waitedForCpuMs, supervisorLateMs };
      const sinceHeartbeatMs = runMs + waitedForCpuMs + supervisorLateMs;
      const { act } = decideLiveness({ ...seen, sinceHeartbeatMs }, LIMITS, BOOT_MS);
      // Rounding of a sum of three.
      if (runMs > LIMITS.beatMs + 0.001) assert.equal(act, 'kill');
      if (runMs < LIMITS.beatMs - 0.001) assert.equal(act, 'none');
    }),
    { numRuns: 2000 },
  );
});

// finding: SR-O1
test('a process is busy only while its loop advances and a probe is answered, and never for 15 s without a heartbeat', () => {
  fc.assert(
    fc.property(observation, (any) => {
      const seen = {
        ...any,
        booting: false,
        supervisorLateMs: 0,
        waitedForCpuMs: 0,
        state: 'R',
        kernelFunction: '',
        cpuMs: any.sinceHeartbeatMs,
      };
      fc.pre(seen.sinceHeartbeatMs >= LIMITS.beatMs);
      const isBusy = seen.loopAdvancedMs <= 2000 && seen.probeMs <= LIMITS.busyProbeMs;
      const isLeftAlone = isBusy && seen.sinceHeartbeatMs < LIMITS.heartbeatEndMs;
      assert.equal(decideLiveness(seen, LIMITS, BOOT_MS).act, isLeftAlone ? 'none' : 'kill');
    }),
    { numRuns: 5000 },
  );
});

const SILENT = { ...FINE, sinceHeartbeatMs: 3100 };
/** Under a crowd of clients: no timer has run for four seconds, and all CPU is used. */
const BUSY = {
  ...FINE,
  state: 'R',
  kernelFunction: '',
  sinceHeartbeatMs: 4100,
  cpuMs: 4000,
  loopAdvancedMs: 300,
  probeMs: 800,
};
const TABLE: readonly (readonly [what: string, seen: Observation, act: string, why: RegExp])[] = [
  ['a process that sends heartbeats and works', FINE, 'none', /^$/],
  ['one that boots and has sent no heartbeat yet', { ...SILENT, booting: true, cpuMs: 3000 }, 'none', /^$/],
  [
    'one that never finishes booting and uses CPU',
    { ...SILENT, booting: true, cpuMs: 9000, sinceHeartbeatMs: 20_100 },
    'kill',
    /stalled/,
  ],
  [
    'one whose loop does not advance',
    { ...SILENT, state: 'R', kernelFunction: '', cpuMs: 3000 },
    'kill',
    /loop is stalled/,
  ],
  ['a busy one: its loop advances and a probe was answered', BUSY, 'none', /^$/],
  ['a busy one just before the end of its time', { ...BUSY, sinceHeartbeatMs: 14_900, cpuMs: 14_000 }, 'none', /^$/],
  ['a busy one after 15 s', { ...BUSY, sinceHeartbeatMs: 15_100, cpuMs: 15_000 }, 'kill', /its timers do not run/],
  ['one whose loop advances, but whose probe takes too long', { ...BUSY, probeMs: 2100 }, 'kill', /loop is stalled/],
  ['one whose loop advances, but whose probe failed', { ...BUSY, probeMs: Infinity }, 'kill', /loop is stalled/],
  [
    'one that answered a probe, but whose loop does not advance',
    { ...BUSY, loopAdvancedMs: 2500 },
    'kill',
    /loop is stalled/,
  ],
  [
    'one that answered a probe, without a stall-watching thread',
    { ...BUSY, loopAdvancedMs: Infinity },
    'kill',
    /loop is stalled/,
  ],
  [
    'a busy one on a system that does not report CPU use',
    { ...BUSY, cpuMs: undefined, state: undefined, sinceHeartbeatMs: 9100 },
    'none',
    /^$/,
  ],
  ['a stopped one', { ...SILENT, state: 'T', cpuMs: 0 }, 'kill', /state T/],
  ['one that a debugger holds', { ...SILENT, state: 't', cpuMs: 0 }, 'kill', /state t/],
  ['one blocked in the kernel', { ...SILENT, state: 'D', cpuMs: 0 }, 'kill', /state D/],
  ['one blocked in a write to a terminal', { ...SILENT, kernelFunction: 'wait_woken' }, 'kill', /blocked in a write/],
  ['one blocked in a write to a pipe', { ...SILENT, kernelFunction: 'anon_pipe_write' }, 'kill', /blocked in a write/],
  ['one that sleeps without a heartbeat, at first', SILENT, 'none', /^$/],
  [
    'one that sleeps without a heartbeat for long: a deadlock',
    { ...SILENT, sinceHeartbeatMs: 15_100 },
    'kill',
    /uses no CPU/,
  ],
  ['a silent one on a system without /proc, at first', { ...SILENT, cpuMs: undefined, state: undefined }, 'none', /^$/],
  [
    'a silent one on a system without /proc',
    { ...SILENT, cpuMs: undefined, state: undefined, sinceHeartbeatMs: 9100 },
    'kill',
    /does not report/,
  ],
  ['one that failed two probes', { ...FINE, failedProbes: 2 }, 'none', /^$/],
  ['one that failed three probes', { ...FINE, failedProbes: 3 }, 'end', /probes/],
  ['one that takes no connection', { ...FINE, unacknowledgedMs: 10_000 }, 'end', /has not taken/],
  [
    'a stall observed by a late supervisor',
    { ...SILENT, state: 'R', cpuMs: 9000, sinceHeartbeatMs: 9100, supervisorLateMs: 1600 },
    'none',
    /^$/,
  ],
];

for (const [what, seen, act, why] of TABLE)
  test(`${what}: ${act}`, () => {
    const decision = decideLiveness(seen, LIMITS, BOOT_MS);
    assert.equal(decision.act, act);
    assert.match(decision.act === 'none' ? '' : decision.why, why);
  });

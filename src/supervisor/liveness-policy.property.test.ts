/**
 * The decision table for every observation there can be: what it never does, and what it always does.
 */
// covers: P10
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Observation, unexplainedMs, verdictOn } from './liveness-policy.ts';

const LIMITS = {
  beatMs: 3000,
  beatCpuMs: 1500,
  handoverMs: 10_000,
  bootMs: 20_000,
  busyProbeMs: 2000,
  heartbeatEndMs: 15_000,
};

const ms = (max: number) => fc.double({ min: 0, max, noNaN: true });
const observation: fc.Arbitrary<Observation> = fc.record({
  sinceBeatMs: ms(120_000),
  booting: fc.boolean(),
  cpuMs: fc.option(ms(120_000), { nil: undefined }),
  waitedForCpuMs: ms(120_000),
  state: fc.option(fc.constantFrom('R', 'S', 'D', 'T', 't', 'Z', 'I'), { nil: undefined }),
  sleepsIn: fc.constantFrom('', '0', 'ep_poll', 'futex_wait_queue', 'wait_woken', 'pipe_write', 'anon_pipe_write'),
  failedProbes: fc.nat(10),
  probeMs: fc.oneof(ms(10_000), fc.constant(Infinity)),
  loopAdvancedMs: fc.oneof(ms(10_000), fc.constant(Infinity)),
  untakenMs: ms(60_000),
  guardLateMs: fc.double({ min: -500, max: 60_000, noNaN: true }),
});

/** A process that beats and works. */
const FINE: Observation = {
  sinceBeatMs: 900,
  booting: false,
  cpuMs: 20,
  waitedForCpuMs: 0,
  state: 'S',
  sleepsIn: 'ep_poll',
  failedProbes: 0,
  probeMs: 5,
  loopAdvancedMs: Infinity,
  untakenMs: 0,
  guardLateMs: 0,
};

test('nothing is killed or ended while a lack of CPU or the guard’s own sleep explains the silence', () => {
  fc.assert(
    fc.property(observation, (seen) => {
      const allowedMs = seen.booting ? LIMITS.bootMs : LIMITS.beatMs;
      const explainedMs = seen.waitedForCpuMs + Math.max(0, seen.guardLateMs);
      const silent = seen.sinceBeatMs >= allowedMs;
      fc.pre(seen.guardLateMs > 1500 || (silent && seen.sinceBeatMs - explainedMs < allowedMs));
      assert.equal(verdictOn(seen, LIMITS).act, 'none');
    }),
    { numRuns: 5000 },
  );
});

// row F10 · guards src/supervisor/liveness-policy.ts
test('a process that is ready to run and got no CPU is left alone, however long that lasts', () => {
  fc.assert(
    fc.property(observation, ms(1499), (seen, cpuMs) => {
      const starved = { ...seen, state: 'R', sleepsIn: '', cpuMs, failedProbes: 0, untakenMs: 0 };
      assert.equal(verdictOn(starved, LIMITS).act, 'none');
    }),
    { numRuns: 2000 },
  );
});

test('the time of a probe counts only as far as the process and the supervisor had a CPU', () => {
  fc.assert(
    fc.property(ms(60_000), ms(60_000), ms(60_000), ms(60_000), (hadMs, waitedForCpuMs, guardWaitedForCpuMs, cpuMs) => {
      const asked = { waitedForCpuMs, guardWaitedForCpuMs, elapsedMs: hadMs + waitedForCpuMs + guardWaitedForCpuMs };
      const close = (is: number, expected: number): void => assert.ok(Math.abs(is - expected) < 0.001);
      close(unexplainedMs({ ...asked, cpuMs, state: 'S' }), hadMs);
      close(unexplainedMs({ ...asked, cpuMs: undefined, state: undefined }), hadMs);
      // A wait that still lasts is not measured yet.
      close(unexplainedMs({ ...asked, cpuMs, state: 'R' }), Math.min(hadMs, cpuMs));
    }),
    { numRuns: 1000 },
  );
});

test('a killed one had been silent for the time it is allowed, and an ended one had not', () => {
  fc.assert(
    fc.property(observation, (seen) => {
      const { act } = verdictOn(seen, LIMITS);
      const allowedMs = seen.booting ? LIMITS.bootMs : LIMITS.beatMs;
      if (act === 'kill') assert.ok(seen.sinceBeatMs >= allowedMs);
      if (act === 'end') assert.ok(seen.sinceBeatMs < allowedMs);
    }),
    { numRuns: 5000 },
  );
});

test('a stall is killed at its first sight on a free machine, and on a busy one as soon as it had the time', () => {
  fc.assert(
    fc.property(ms(60_000), ms(60_000), ms(1400), (runMs, waitedForCpuMs, guardLateMs) => {
      const seen = { ...FINE, state: 'R', sleepsIn: '', cpuMs: runMs, waitedForCpuMs, guardLateMs };
      const sinceBeatMs = runMs + waitedForCpuMs + guardLateMs;
      const { act } = verdictOn({ ...seen, sinceBeatMs }, LIMITS);
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
        guardLateMs: 0,
        waitedForCpuMs: 0,
        state: 'R',
        sleepsIn: '',
        cpuMs: any.sinceBeatMs,
      };
      fc.pre(seen.sinceBeatMs >= LIMITS.beatMs);
      const isBusy = seen.loopAdvancedMs <= 2000 && seen.probeMs <= LIMITS.busyProbeMs;
      const isLeftAlone = isBusy && seen.sinceBeatMs < LIMITS.heartbeatEndMs;
      assert.equal(verdictOn(seen, LIMITS).act, isLeftAlone ? 'none' : 'kill');
    }),
    { numRuns: 5000 },
  );
});

const SILENT = { ...FINE, sinceBeatMs: 3100 };
/** As in a crowd: no timer has run for four seconds, and the CPU is all used. */
const BUSY = { ...FINE, state: 'R', sleepsIn: '', sinceBeatMs: 4100, cpuMs: 4000, loopAdvancedMs: 300, probeMs: 800 };
const TABLE: readonly (readonly [what: string, seen: Observation, act: string, why: RegExp])[] = [
  ['a process that beats and works', FINE, 'none', /^$/],
  ['one that boots and has not beaten yet', { ...SILENT, booting: true, cpuMs: 3000 }, 'none', /^$/],
  [
    'one that never finished booting and burns',
    { ...SILENT, booting: true, cpuMs: 9000, sinceBeatMs: 20_100 },
    'kill',
    /stalled/,
  ],
  ['a loop that does not turn', { ...SILENT, state: 'R', sleepsIn: '', cpuMs: 3000 }, 'kill', /loop is stalled/],
  ['a busy one: its loop advances and a probe was answered', BUSY, 'none', /^$/],
  ['a busy one just before its last second', { ...BUSY, sinceBeatMs: 14_900, cpuMs: 14_000 }, 'none', /^$/],
  ['a busy one after 15 s', { ...BUSY, sinceBeatMs: 15_100, cpuMs: 15_000 }, 'kill', /its timers do not run/],
  ['one whose loop advances, but whose probe takes too long', { ...BUSY, probeMs: 2100 }, 'kill', /loop is stalled/],
  ['one whose loop advances, but whose probe failed', { ...BUSY, probeMs: Infinity }, 'kill', /loop is stalled/],
  [
    'one that answered a probe, but whose loop stands still',
    { ...BUSY, loopAdvancedMs: 2500 },
    'kill',
    /loop is stalled/,
  ],
  [
    'one that answered a probe, and has no stall-watching thread',
    { ...BUSY, loopAdvancedMs: Infinity },
    'kill',
    /loop is stalled/,
  ],
  [
    'a busy one on a system that shows no CPU time',
    { ...BUSY, cpuMs: undefined, state: undefined, sinceBeatMs: 9100 },
    'none',
    /^$/,
  ],
  ['a stopped one', { ...SILENT, state: 'T', cpuMs: 0 }, 'kill', /state T/],
  ['one that a debugger holds', { ...SILENT, state: 't', cpuMs: 0 }, 'kill', /state t/],
  ['one stuck in the kernel', { ...SILENT, state: 'D', cpuMs: 0 }, 'kill', /state D/],
  ['one stuck in a write to a terminal', { ...SILENT, sleepsIn: 'wait_woken' }, 'kill', /stuck in a write/],
  ['one stuck in a write to a pipe', { ...SILENT, sleepsIn: 'anon_pipe_write' }, 'kill', /stuck in a write/],
  ['one that sleeps without a beat, at first', SILENT, 'none', /^$/],
  ['one that sleeps without a beat for long: a deadlock', { ...SILENT, sinceBeatMs: 15_100 }, 'kill', /uses no CPU/],
  [
    'a silent one on a system that tells nothing, at first',
    { ...SILENT, cpuMs: undefined, state: undefined },
    'none',
    /^$/,
  ],
  [
    'a silent one on a system that tells nothing',
    { ...SILENT, cpuMs: undefined, state: undefined, sinceBeatMs: 9100 },
    'kill',
    /nothing else/,
  ],
  ['one that beats and answers two probes less', { ...FINE, failedProbes: 2 }, 'none', /^$/],
  ['one that beats and answers no probe', { ...FINE, failedProbes: 3 }, 'end', /probes/],
  ['one that beats and takes no connection', { ...FINE, untakenMs: 10_000 }, 'end', /has not taken/],
  [
    'a stall seen by a guard that was late',
    { ...SILENT, state: 'R', cpuMs: 9000, sinceBeatMs: 9100, guardLateMs: 1600 },
    'none',
    /^$/,
  ],
];

for (const [what, seen, act, why] of TABLE)
  test(`${what}: ${act}`, () => {
    const verdict = verdictOn(seen, LIMITS);
    assert.equal(verdict.act, act);
    assert.match(verdict.act === 'none' ? '' : verdict.why, why);
  });

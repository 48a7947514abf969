/**
 * Decides what the supervisor does with a process from what it observes of it. Pure functions.
 * A stalled, stopped or blocked process is killed at once, because it cannot handle SIGTERM; one that sends heartbeats
 * but does no work is asked to exit. Time for which a lack of CPU, or a late supervisor, explains the silence never
 * counts. A busy process (its loop advances and it answers probes) is left alone until `heartbeatEndMs`. Tests: P10, F9
 * and F10 in test/requirements.ts and liveness-policy.property.test.ts.
 */
export interface Observation {
  /** ms since the last heartbeat, or since the start if there was none. */
  readonly sinceHeartbeatMs: number;
  /** No heartbeat has arrived yet. */
  readonly booting: boolean;
  /** CPU used since the last heartbeat, ms; undefined where the system does not report it. */
  readonly cpuMs: number | undefined;
  /**
   * Time since the last heartbeat for which it was runnable without a CPU, ms. Excludes a wait that has not ended; its
   * state is R then.
   */
  readonly waitedForCpuMs: number;
  /** Letter of its state (R S D T Z …), or undefined. */
  readonly state: string | undefined;
  /** Kernel function in which it sleeps, or ''. */
  readonly kernelFunction: string;
  /** Probes in a row that failed. */
  readonly failedProbes: number;
  /** ms that the newest probe took, or has been pending; Infinity if it failed or none was sent. */
  readonly probeMs: number;
  /**
   * ms since its stall-watching thread last saw the loop advance; Infinity = unknown. Known only while heartbeats are
   * late.
   */
  readonly loopAdvancedMs: number;
  /** ms for which it has not acknowledged a connection. */
  readonly unacknowledgedMs: number;
  /** ms by which the supervisor's own poll is late (suspended machine, starved supervisor). */
  readonly supervisorLateMs: number;
}

export interface LivenessLimits {
  readonly beatMs: number;
  readonly beatCpuMs: number;
  readonly handoverMs: number;
  /** A slower probe does not show that a process is busy. */
  readonly busyProbeMs: number;
  /** Silence after which even a busy process is replaced. */
  readonly heartbeatEndMs: number;
}

export type LivenessDecision =
  | { readonly act: 'none' }
  /** SIGKILL now. */
  | { readonly act: 'kill'; readonly why: string }
  /** SIGTERM, then SIGKILL after the grace period. */
  | { readonly act: 'end'; readonly why: string };

const NONE: LivenessDecision = { act: 'none' };
const MAX_FAILED_PROBES = 3;
/** A supervisor that is later than this has only stale observations. */
const MAX_SUPERVISOR_LATE_MS = 1500;
/** Where CPU use is unknown, silence alone counts after this multiple of the allowed silence. */
const UNKNOWN_CPU_FACTOR = 3;
/** A booting process that uses no CPU is killed after this multiple of `bootMs`. */
const BOOT_IDLE_FACTOR = 5;
/** The supervisor asks the stall-watching thread once a second; an older answer says nothing about now. */
const MAX_LOOP_ADVANCED_MS = 2000;
/** Kernel functions in which a write to a terminal or pipe blocks. */
const BLOCKING_WRITES = /^(wait_woken|n_tty_write|tty_write|pipe_write|anon_pipe_write|do_tty_write)/;

/**
 * Returns what to do with a process now, and why. One that has sent no heartbeat `bootMs` after its start has failed to
 * boot.
 */
export function decideLiveness(seen: Observation, limits: LivenessLimits, bootMs: number): LivenessDecision {
  if (seen.supervisorLateMs > MAX_SUPERVISOR_LATE_MS) return NONE;
  const allowedMs = seen.booting ? bootMs : limits.beatMs;
  const silentMs = seen.sinceHeartbeatMs - seen.waitedForCpuMs - Math.max(0, seen.supervisorLateMs);
  if (silentMs < allowedMs) return seen.sinceHeartbeatMs < allowedMs ? decideResponsive(seen, limits) : NONE;
  const silence = `no heartbeat for ${Math.round(seen.sinceHeartbeatMs)} ms`;
  const kill = (why: string): LivenessDecision => ({ act: 'kill', why: `${silence}${why}` });
  const endMs = seen.booting ? allowedMs * BOOT_IDLE_FACTOR : limits.heartbeatEndMs;
  const busy = isBusy(seen, limits);
  if (busy && silentMs < endMs) return NONE;
  if (seen.state === 'T' || seen.state === 't') return kill(`; the process is stopped (state ${seen.state})`);
  if (seen.state === 'D') return kill('; the process is blocked in the kernel (state D)');
  if (BLOCKING_WRITES.test(seen.kernelFunction))
    return kill(`; the process is blocked in a write (${seen.kernelFunction})`);
  if (seen.cpuMs === undefined)
    return silentMs >= allowedMs * UNKNOWN_CPU_FACTOR ? kill('; this system does not report its CPU use') : NONE;
  if (seen.cpuMs >= limits.beatCpuMs) {
    const loop = busy ? 'advances, but its timers do not run' : 'is stalled';
    return kill(` while it used ${Math.round(seen.cpuMs)} ms of CPU: its event loop ${loop}`);
  }
  // Runnable, but it hardly ran: its current wait for a CPU is not measured yet.
  if (seen.state === 'R') return NONE;
  // A CPU is available and it uses none: a deadlock, which only time reveals.
  return silentMs >= endMs ? kill('; the process uses no CPU and does not answer') : NONE;
}

/** What is observed of a process while a probe is pending; times in ms since the probe was sent. */
export interface PendingProbe {
  readonly elapsedMs: number;
  /** Time for which the process was runnable without a CPU. Excludes a wait that has not ended; its state is R then. */
  readonly waitedForCpuMs: number;
  /** The same for the supervisor, which could not read an answer meanwhile. */
  readonly supervisorWaitedForCpuMs: number;
  /** CPU that the process used; undefined where the system does not report it. */
  readonly cpuMs: number | undefined;
  readonly state: string | undefined;
}

/**
 * Returns for how many ms the missing answer is explained neither by a process without a CPU nor by a supervisor
 * without one.
 */
export function unexplainedWaitMs(probe: PendingProbe): number {
  const { elapsedMs, waitedForCpuMs, supervisorWaitedForCpuMs, cpuMs, state } = probe;
  const hadCpuMs = elapsedMs - waitedForCpuMs - supervisorWaitedForCpuMs;
  // Runnable: all that is known of a wait that has not ended is the CPU that was used.
  return Math.max(0, state === 'R' && cpuMs !== undefined ? Math.min(hadCpuMs, cpuMs) : hadCpuMs);
}

/** Late, but working: two signs that do not depend on its timers. Neither is enough alone. */
function isBusy(seen: Observation, limits: LivenessLimits): boolean {
  return seen.loopAdvancedMs <= MAX_LOOP_ADVANCED_MS && seen.probeMs <= limits.busyProbeMs;
}

/** Decides for a process whose heartbeats arrive: does it do its work? */
function decideResponsive(seen: Observation, limits: LivenessLimits): LivenessDecision {
  if (seen.failedProbes >= MAX_FAILED_PROBES)
    return { act: 'end', why: `it sends heartbeats, but ${seen.failedProbes} probes in a row failed` };
  if (seen.unacknowledgedMs >= limits.handoverMs) {
    const ms = Math.round(seen.unacknowledgedMs);
    return { act: 'end', why: `it sends heartbeats, but has not taken a connection for ${ms} ms` };
  }
  return NONE;
}

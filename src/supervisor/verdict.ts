/**
 * The guard's decision table: what is seen of a process → what is done to it. Pure; the whole judgement stands on this page.
 * Promises: a process that is stalled, stopped or stuck in a terminal is killed at once (it could not hear SIGTERM); one that turns but does not
 * answer is asked to end; one that merely gets no CPU, or looks silent because the guard itself slept, is left alone.
 * Source: defaults.md, row Guard; reliability.md F9, F10, P10.
 */
export interface Observation {
  /** ms since the last beat (or since the start when there was none yet). */
  readonly sinceBeatMs: number;
  /** It has never beaten: it is still booting. */
  readonly booting: boolean;
  /** CPU used since the last beat, ms; undefined = cannot be known on this system. */
  readonly cpuMs: number | undefined;
  /** Time it was ready to run since the last beat but had no CPU, ms. */
  readonly waitedForCpuMs: number;
  /** Letter of its state (R S D T Z …), or undefined. */
  readonly state: string | undefined;
  /** Kernel function it sleeps in, or ''. */
  readonly sleepsIn: string;
  /** Probes without an answer in a row. */
  readonly failedProbes: number;
  /** ms by which the guard's own look came late (suspend, starvation of the guard). */
  readonly guardLateMs: number;
}

export interface VerdictLimits {
  readonly beatMs: number;
  readonly beatCpuMs: number;
  /** A process that has not beaten once by then failed to boot. */
  readonly bootMs: number;
}

export type Verdict =
  | { readonly act: 'none' }
  /** SIGKILL now. */
  | { readonly act: 'kill'; readonly why: string }
  /** SIGTERM, and SIGKILL when its budget is over. */
  | { readonly act: 'end'; readonly why: string };

const NONE: Verdict = { act: 'none' };
const PROBES = 3;
/** The guard's own sleep that makes all it sees stale. */
const GUARD_LATE_MS = 1500;
/** Share of the silence that a process spent waiting for CPU and that explains it. */
const STARVED = 0.5;
/** Functions of the kernel in which a write to a terminal or pipe blocks. */
const WRITES = /^(wait_woken|n_tty_write|tty_write|pipe_write|do_tty_write)/;

export function verdictOn(seen: Observation, limits: VerdictLimits): Verdict {
  if (seen.guardLateMs > GUARD_LATE_MS) return NONE;
  const allowedMs = seen.booting ? limits.bootMs : limits.beatMs;
  if (seen.sinceBeatMs < allowedMs)
    return seen.failedProbes >= PROBES
      ? { act: 'end', why: `it beats but has not answered ${seen.failedProbes} probes` }
      : NONE;
  const silent = `no beat for ${Math.round(seen.sinceBeatMs)} ms`;
  if (seen.state === 'T' || seen.state === 't')
    return { act: 'kill', why: `${silent}; it is stopped (state ${seen.state})` };
  if (seen.state === 'D') return { act: 'kill', why: `${silent}; it is stuck in the kernel (state D)` };
  if (WRITES.test(seen.sleepsIn)) return { act: 'kill', why: `${silent}; it is stuck in a write (${seen.sleepsIn})` };
  if (seen.cpuMs === undefined)
    return seen.sinceBeatMs >= limits.beatMs * 3
      ? { act: 'kill', why: `${silent}; nothing else can be seen on this system` }
      : NONE;
  if (seen.cpuMs >= limits.beatCpuMs)
    return { act: 'kill', why: `${silent} while it used ${Math.round(seen.cpuMs)} ms of CPU: its loop is stalled` };
  if (seen.waitedForCpuMs >= seen.sinceBeatMs * STARVED) return NONE;
  // It has the CPU for the asking, uses none, and is not stopped: a deadlock that only time shows.
  return seen.sinceBeatMs >= allowedMs * 5
    ? { act: 'kill', why: `${silent}; it uses no CPU and does not answer` }
    : NONE;
}

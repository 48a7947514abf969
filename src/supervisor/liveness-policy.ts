/**
 * The guard's decision table: what is seen of a process → what is done to it. Pure; the whole judgement stands on this page.
 * Promises: a process that is stalled, stopped or stuck in a terminal is killed at once (it could not hear SIGTERM); one that turns but does not
 * answer is asked to end; silence, of heartbeats and of probes, counts only as far as neither a lack of CPU nor the guard's own sleep explains it, so that a
 * starved host or a suspended laptop costs nobody. A process whose loop advances and that answers probes is busy, and is left alone until `heartbeatEndMs`.
 * And how soon a dead one is tried again (`Rests`).
 * Source: defaults.md, row Guard; reliability.md F9, F10, P10.
 */
export interface Observation {
  /** ms since the last beat (or since the start when there was none yet). */
  readonly sinceBeatMs: number;
  /** It has never beaten: it is still booting. */
  readonly booting: boolean;
  /** CPU used since the last beat, ms; undefined = cannot be known on this system. */
  readonly cpuMs: number | undefined;
  /** Time it was ready to run since the last beat but had no CPU, ms. A wait that still lasts is not in it: then the state is R. */
  readonly waitedForCpuMs: number;
  /** Letter of its state (R S D T Z …), or undefined. */
  readonly state: string | undefined;
  /** Kernel function it sleeps in, or ''. */
  readonly sleepsIn: string;
  /** Probes without an answer in a row. */
  readonly failedProbes: number;
  /** ms that the newest probe took, or that it has been waiting for; Infinity = it failed, or none was sent. */
  readonly probeMs: number;
  /** ms since its stall-watching thread last saw the loop advance; Infinity = unknown. Known only while heartbeats are late. */
  readonly loopAdvancedMs: number;
  /** ms for which it has not taken a connection that it was handed. */
  readonly untakenMs: number;
  /** ms by which the guard's own look came late (suspend, starvation of the guard). */
  readonly guardLateMs: number;
}

export interface VerdictLimits {
  readonly beatMs: number;
  readonly beatCpuMs: number;
  readonly handoverMs: number;
  /** A probe that takes longer is no sign of a busy process. */
  readonly busyProbeMs: number;
  /** Silence after which a process is replaced even when it is busy. */
  readonly heartbeatEndMs: number;
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
/** Multiples of the allowed silence after which silence alone is enough. */
const BLIND = 3;
/** The same for one that is booting. */
const BOOT_DEADLOCKED = 5;
/** The supervisor asks the thread once a second; an older sign says nothing about now. */
const LOOP_ADVANCED_MS = 2000;
/** Functions of the kernel in which a write to a terminal or pipe blocks. */
const WRITES = /^(wait_woken|n_tty_write|tty_write|pipe_write|anon_pipe_write|do_tty_write)/;

export function verdictOn(seen: Observation, limits: VerdictLimits): Verdict {
  if (seen.guardLateMs > GUARD_LATE_MS) return NONE;
  const allowedMs = seen.booting ? limits.bootMs : limits.beatMs;
  const silentMs = seen.sinceBeatMs - seen.waitedForCpuMs - Math.max(0, seen.guardLateMs);
  if (silentMs < allowedMs) return seen.sinceBeatMs < allowedMs ? onBeating(seen, limits) : NONE;
  const silent = `no beat for ${Math.round(seen.sinceBeatMs)} ms`;
  const endMs = seen.booting ? allowedMs * BOOT_DEADLOCKED : limits.heartbeatEndMs;
  const busy = isBusy(seen, limits);
  if (busy && silentMs < endMs) return NONE;
  if (seen.state === 'T' || seen.state === 't')
    return { act: 'kill', why: `${silent}; it is stopped (state ${seen.state})` };
  if (seen.state === 'D') return { act: 'kill', why: `${silent}; it is stuck in the kernel (state D)` };
  if (WRITES.test(seen.sleepsIn)) return { act: 'kill', why: `${silent}; it is stuck in a write (${seen.sleepsIn})` };
  if (seen.cpuMs === undefined)
    return silentMs >= allowedMs * BLIND
      ? { act: 'kill', why: `${silent}; nothing else can be seen on this system` }
      : NONE;
  if (seen.cpuMs >= limits.beatCpuMs)
    return {
      act: 'kill',
      why: `${silent} while it used ${Math.round(seen.cpuMs)} ms of CPU: its loop ${busy ? 'advances, but its timers do not run' : 'is stalled'}`,
    };
  // Ready to run and hardly ran: the wait for a CPU that has not ended yet is counted nowhere.
  if (seen.state === 'R') return NONE;
  // It has the CPU for the asking, uses none, and is not stopped: a deadlock that only time shows.
  return silentMs >= endMs ? { act: 'kill', why: `${silent}; it uses no CPU and does not answer` } : NONE;
}

/** What is seen of a process while a question to it is open; times in ms since the question was sent. */
export interface Asked {
  readonly elapsedMs: number;
  /** Time it was ready to run but had no CPU. A wait that still lasts is not in it: then the state is R. */
  readonly waitedForCpuMs: number;
  /** The same of the guard itself, which could not read an answer meanwhile. */
  readonly guardWaitedForCpuMs: number;
  /** CPU that it has used; undefined = cannot be known on this system. */
  readonly cpuMs: number | undefined;
  readonly state: string | undefined;
}

/** Returns for how long neither a lack of CPU of the process nor one of the guard explains that there is no answer, in ms. */
export function unexplainedMs({ elapsedMs, waitedForCpuMs, guardWaitedForCpuMs, cpuMs, state }: Asked): number {
  const hadMs = elapsedMs - waitedForCpuMs - guardWaitedForCpuMs;
  // Ready to run: of a wait that has not ended nothing is known but the CPU that it has used.
  return Math.max(0, state === 'R' && cpuMs !== undefined ? Math.min(hadMs, cpuMs) : hadMs);
}

/** Late, but at work: two signs that do not depend on its timers. Neither alone is enough. */
function isBusy(seen: Observation, limits: VerdictLimits): boolean {
  return seen.loopAdvancedMs <= LOOP_ADVANCED_MS && seen.probeMs <= limits.busyProbeMs;
}

/** Its loop turns; does it do its work? */
function onBeating(seen: Observation, limits: VerdictLimits): Verdict {
  if (seen.failedProbes >= PROBES)
    return { act: 'end', why: `it beats but has not answered ${seen.failedProbes} probes` };
  if (seen.untakenMs >= limits.handoverMs)
    return { act: 'end', why: `it beats but has not taken a connection for ${Math.round(seen.untakenMs)} ms` };
  return NONE;
}

/** Looks in a row above the ceiling: one may be a collection that is about to come. */
const LOOKS_ABOVE = 3;
/** A replacement that did not come about, or leaks too, is followed by the next only after this. */
const NEXT_WEIGHING_MS = 60_000;

/** Is a process above its memory ceiling for good? Asked once a look; says yes once, and again after a minute. */
export class MemoryCeiling {
  #above = 0;
  #quietUntilMs = 0;

  isExceeded(rssBytes: number, ceilingBytes: number, nowMs: number): boolean {
    this.#above = rssBytes > ceilingBytes ? this.#above + 1 : 0;
    if (this.#above < LOOKS_ABOVE || nowMs < this.#quietUntilMs) return false;
    this.#quietUntilMs = nowMs + NEXT_WEIGHING_MS;
    return true;
  }

  /** Another process holds the place now. */
  reset(): void {
    this.#above = 0;
    this.#quietUntilMs = 0;
  }
}

/** A process that has lived this long works; also the window in which deaths are counted. */
const STEADY_MS = 60_000;
const REST_CAP_MS = 30_000;

export interface RestLimits {
  /** Deaths within a minute that are answered at once. */
  readonly restarts: number;
  /** First rest then. */
  readonly guardBackoffMs: number;
}

/** How long to rest before the next life of one process: not at all, or growing up to 30 s and then for ever so, until one life lasts a minute. */
export class Rests {
  readonly #limits: RestLimits;
  #deaths: number[] = []; // bounded by: limits.restarts and one
  /** Rests since a life lasted; 0 = no crash loop. */
  row = 0;

  constructor(limits: RestLimits) {
    this.#limits = limits;
  }

  /** ms to rest after a death at `nowMs` that ended a life of `livedMs`. `chance` in [0, 1) spreads it by a quarter, downwards. */
  next(nowMs: number, livedMs: number, chance: number): number {
    const { restarts, guardBackoffMs } = this.#limits;
    if (livedMs >= STEADY_MS) {
      this.row = 0;
      this.#deaths = [];
    }
    this.#deaths = [...this.#deaths.filter((atMs) => nowMs - atMs < STEADY_MS), nowMs].slice(-restarts - 1);
    if (this.row === 0 && this.#deaths.length <= restarts) return 0;
    this.row += 1;
    const stepMs = Math.min(REST_CAP_MS, guardBackoffMs * 2 ** (this.row - 1));
    return Math.round(stepMs * (1 - chance / 4));
  }
}

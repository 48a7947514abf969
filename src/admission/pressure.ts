/**
 * How hard this process is pressed: by its memory, or by a loop that is late. What is refused then is the gate's part (`gate.ts`).
 * Promises: pure; readings and time are parameters; goes up when a mark has been passed for as long as it says, and down only when it is well
 * below it, so that it does not flutter.
 * Order of shedding (reliability.md §3): new sessions of people without a key first, then every new call and list; calls that run, health and
 * keys never.
 * Does not: replace a worker that leaks. The supervisor's memory limit lies well below the mark of shedding, so that shedding is for the
 * case that no replacement comes.
 */
export type PressureLevel = 'calm' | 'high' | 'shedding';

export interface Reading {
  readonly nowMs: number;
  /** Late turns of the last second, 99th percentile. */
  readonly loopP99Ms: number;
  /** Memory held, as a share of what the heap may have. */
  readonly memoryShare: number;
}

interface Mark {
  readonly level: PressureLevel;
  readonly memoryShare: number;
  readonly loopP99Ms: number;
}

/** Loop: 100 ms is felt by everybody; only a second of lateness is worse than being refused. */
const MARKS: readonly Mark[] = [
  { level: 'shedding', memoryShare: 0.85, loopP99Ms: 1000 },
  { level: 'high', memoryShare: 0.7, loopP99Ms: 100 },
];
/** A late loop counts when it has been late for this long; memory counts at once. */
const LATE_MS = 2000;
/** Back below this part of a mark … */
const WELL_BELOW = 0.9;
/** … for this long. */
const CALM_MS = 2000;

export class Pressure {
  #level: PressureLevel = 'calm';
  #cause = '';
  readonly #lateSinceMs = new Map<PressureLevel, number>(); // bounded by: the levels
  #belowSinceMs: number | undefined;

  get level(): PressureLevel {
    return this.#level;
  }

  /** What pressed last, for people. */
  get cause(): string {
    return this.#cause;
  }

  /** True = the level has changed. */
  take(reading: Reading): boolean {
    const next = this.#passed(reading);
    if (rank(next) > rank(this.#level)) {
      this.#belowSinceMs = undefined;
      return this.#become(next);
    }
    if (this.#level === 'calm') return false;
    const mark = MARKS.find(({ level }) => level === this.#level);
    const isBelow =
      mark !== undefined &&
      reading.memoryShare < mark.memoryShare * WELL_BELOW &&
      reading.loopP99Ms < mark.loopP99Ms * WELL_BELOW;
    if (!isBelow) {
      this.#belowSinceMs = undefined;
      return false;
    }
    this.#belowSinceMs ??= reading.nowMs;
    if (reading.nowMs - this.#belowSinceMs < CALM_MS) return false;
    this.#belowSinceMs = undefined;
    return this.#become(next);
  }

  #passed({ nowMs, loopP99Ms, memoryShare }: Reading): PressureLevel {
    let passed: PressureLevel = 'calm';
    for (const mark of MARKS) {
      if (loopP99Ms < mark.loopP99Ms) this.#lateSinceMs.delete(mark.level);
      else if (!this.#lateSinceMs.has(mark.level)) this.#lateSinceMs.set(mark.level, nowMs);
      const isLate = nowMs - (this.#lateSinceMs.get(mark.level) ?? nowMs) >= LATE_MS;
      const isFull = memoryShare >= mark.memoryShare;
      if (passed !== 'calm' || !(isLate || isFull)) continue;
      passed = mark.level;
      this.#cause = isFull
        ? `memory at ${Math.round(memoryShare * 100)} %`
        : `the loop is ${Math.round(loopP99Ms)} ms late`;
    }
    return passed;
  }

  #become(level: PressureLevel): boolean {
    if (level === this.#level) return false;
    this.#level = level;
    if (level === 'calm') this.#cause = '';
    return true;
  }
}

function rank(level: PressureLevel): number {
  return level === 'calm' ? 0 : level === 'high' ? 1 : 2;
}

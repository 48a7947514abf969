/**
 * Computes the resource pressure of this process from memory and event loop delay; `gate.ts` decides what is refused.
 * Guarantees: pure, readings and time are parameters; hysteresis prevents oscillation. Shedding order: anonymous new
 * sessions first, then all new calls and lists; never running calls, health checks or keys. The supervisor's memory
 * limit is well below the shedding threshold: shedding is for the case that no replacement worker starts.
 */
export type PressureLevel = 'calm' | 'high' | 'shedding';

export interface PressureReading {
  readonly nowMs: number;
  /** Event loop delay of the last second, 99th percentile. */
  readonly loopP99Ms: number;
  /** Used memory as a share of the heap limit. */
  readonly memoryShare: number;
}

interface Threshold {
  readonly level: PressureLevel;
  readonly memoryShare: number;
  readonly loopP99Ms: number;
}

/** Users notice a delay of 100 ms; only a delay of a second is worse than a refusal. */
const THRESHOLDS: readonly Threshold[] = [
  { level: 'shedding', memoryShare: 0.85, loopP99Ms: 1000 },
  { level: 'high', memoryShare: 0.7, loopP99Ms: 100 },
];
/** The event loop delay must exceed its threshold for this long; memory counts at once. */
const LATE_AFTER_MS = 2000;
/** Pressure falls when all readings are below this part of the threshold … */
const HYSTERESIS = 0.9;
/** … for this long. */
const RECOVERY_MS = 2000;

export class Pressure {
  #level: PressureLevel = 'calm';
  #cause = '';
  readonly #lateSinceMs = new Map<PressureLevel, number>(); // bounded by: the levels
  #belowSinceMs: number | undefined;

  get level(): PressureLevel {
    return this.#level;
  }

  /** What last raised the level, for logs. */
  get cause(): string {
    return this.#cause;
  }

  /** Returns true when the level changes. */
  update(reading: PressureReading): boolean {
    const next = this.#exceededLevel(reading);
    if (rank(next) > rank(this.#level)) {
      this.#belowSinceMs = undefined;
      return this.#setLevel(next);
    }
    if (this.#level === 'calm') return false;
    const threshold = THRESHOLDS.find(({ level }) => level === this.#level);
    const isBelow =
      threshold !== undefined &&
      reading.memoryShare < threshold.memoryShare * HYSTERESIS &&
      reading.loopP99Ms < threshold.loopP99Ms * HYSTERESIS;
    if (!isBelow) {
      this.#belowSinceMs = undefined;
      return false;
    }
    this.#belowSinceMs ??= reading.nowMs;
    if (reading.nowMs - this.#belowSinceMs < RECOVERY_MS) return false;
    this.#belowSinceMs = undefined;
    return this.#setLevel(next);
  }

  #exceededLevel({ nowMs, loopP99Ms, memoryShare }: PressureReading): PressureLevel {
    let exceeded: PressureLevel = 'calm';
    for (const threshold of THRESHOLDS) {
      if (loopP99Ms < threshold.loopP99Ms) this.#lateSinceMs.delete(threshold.level);
      else if (!this.#lateSinceMs.has(threshold.level)) this.#lateSinceMs.set(threshold.level, nowMs);
      const isLate = nowMs - (this.#lateSinceMs.get(threshold.level) ?? nowMs) >= LATE_AFTER_MS;
      const isFull = memoryShare >= threshold.memoryShare;
      if (exceeded !== 'calm' || !(isLate || isFull)) continue;
      exceeded = threshold.level;
      this.#cause = isFull
        ? `memory at ${Math.round(memoryShare * 100)} %`
        : `event loop delay ${Math.round(loopP99Ms)} ms`;
    }
    return exceeded;
  }

  #setLevel(level: PressureLevel): boolean {
    if (level === this.#level) return false;
    this.#level = level;
    if (level === 'calm') this.#cause = '';
    return true;
  }
}

function rank(level: PressureLevel): number {
  return level === 'calm' ? 0 : level === 'high' ? 1 : 2;
}

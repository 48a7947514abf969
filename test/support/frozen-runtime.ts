/**
 * A kernel whose time stands still until a test moves it. No timer of the runtime is involved.
 * Promises: `advance(ms)` fires everything due on the way, in order of time.
 */

import type { HubEvent } from '../../src/model/events.ts';
import type { Clock, Timers } from '../../src/runtime/clock.ts';
import { createRuntime, type Runtime } from '../../src/runtime/runtime.ts';

interface Due {
  atMs: number;
  everyMs: number | (() => number);
  fn: () => void;
  stopped: boolean;
}

export interface FrozenRuntime {
  readonly runtime: Runtime;
  readonly facts: HubEvent[];
  /** Moves time forward, 5 ms a step, firing timers and the wheel; 0 = runs what is due now. */
  advance(ms: number): void;
  /** As `advance`, letting promises settle between steps. */
  advanceAsync(ms: number): Promise<void>;
  setWall(ms: number): void;
}

const STEP_MS = 5;

export function frozenRuntime(random: () => number = () => 0.5): FrozenRuntime {
  let nowMs = 1000;
  let wallMs = 1_800_000_000_000;
  const dues: Due[] = [];
  const clock: Clock = { nowMs: () => nowMs, wallMs: () => wallMs };
  const add = (ms: number, everyMs: number | (() => number), fn: () => void): Disposable => {
    const due: Due = { atMs: nowMs + ms, everyMs, fn, stopped: false };
    dues.push(due);
    return {
      [Symbol.dispose]() {
        due.stopped = true;
        const at = dues.indexOf(due);
        if (at >= 0) dues.splice(at, 1);
      },
    };
  };
  const msOf = (ms: number | (() => number)): number => (typeof ms === 'number' ? ms : ms());
  const timers: Timers = {
    after: (ms, fn) => add(ms, 0, fn),
    every: (ms, fn) => add(msOf(ms), ms, fn),
    afterInput: (fn) => void add(0, 0, fn),
    runLate: () => {},
  };
  const runtime = createRuntime({ clock, timers, random, maxWaits: 100_000 });
  const facts: HubEvent[] = [];
  runtime.bus.listen((fact) => facts.push(fact));

  function step(ms: number): void {
    nowMs += ms;
    wallMs += ms;
    for (const due of [...dues].sort((a, b) => a.atMs - b.atMs)) {
      if (due.stopped || due.atMs > nowMs) continue;
      const everyMs = msOf(due.everyMs);
      if (everyMs > 0) due.atMs = nowMs + everyMs;
      else {
        due.stopped = true;
        dues.splice(dues.indexOf(due), 1);
      }
      due.fn();
    }
  }
  return {
    runtime,
    facts,
    advance(ms) {
      if (ms === 0) step(0);
      for (let left = ms; left > 0; left -= STEP_MS) step(Math.min(STEP_MS, left));
    },
    async advanceAsync(ms) {
      for (let left = ms; left > 0; left -= STEP_MS) {
        step(Math.min(STEP_MS, left));
        await new Promise<void>((resolve) => setImmediate(resolve));
      }
    },
    setWall(ms) {
      wallMs = ms;
    },
  };
}

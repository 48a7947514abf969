/**
 * What every module of a process uses, created once in `process/` and passed down: time, the timer wheel, the table of
 * waits, the table of limits, the event bus, randomness, and the root scope for background work. It holds no module
 * state.
 */

import { SecretMask } from '../model/secret-mask.ts';
import { ContainerLimits } from './capped.ts';
import { type Clock, createSystemTimers, systemClock, type Timers } from './clock.ts';
import { Deadline } from './deadline.ts';
import { EventBus } from './event-bus.ts';
import { OpenWork } from './open-work.ts';
import { Scope } from './scope.ts';
import { TimerWheel } from './timer-wheel.ts';
import { Turns } from './turns.ts';
import { Waits } from './waits.ts';

export interface Runtime {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly wheel: TimerWheel;
  readonly waits: Waits;
  readonly ceilings: ContainerLimits;
  readonly bus: EventBus;
  /** Masks secrets in texts for the operator. The event bus masks events itself. */
  readonly secrets: SecretMask;
  readonly scope: Scope;
  /** What is open on behalf of callers, so that it ends with their key. */
  readonly openWork: OpenWork;
  /** For work that takes milliseconds: one piece in each turn of the event loop. */
  readonly turns: Turns;
  /** Returns a number in [0, 1). */
  readonly random: () => number;
  /** Returns a deadline `ms` from now. */
  deadline(ms: number): Deadline;
}

export interface RuntimeOptions {
  readonly clock: Clock;
  /** Default: Node's own timers, created for this runtime. */
  readonly timers?: Timers;
  readonly random: () => number;
  /** Maximum number of open waits. */
  readonly maxWaits: number;
}

export const systemRuntimeOptions: RuntimeOptions = {
  clock: systemClock,
  random: Math.random,
  maxWaits: 200_000,
};

export function createRuntime(options: RuntimeOptions = systemRuntimeOptions): Runtime {
  const secrets = new SecretMask();
  const bus = new EventBus(secrets);
  const ceilings = new ContainerLimits();
  const faulted = (fault: unknown): void => bus.publish({ type: 'task-faulted', task: 'timer', fault });
  const timers = guardedTimers(options.timers ?? createSystemTimers(), faulted);
  const wheel = new TimerWheel(options.clock, timers, faulted);
  const waits = new Waits(options.clock, ceilings, options.maxWaits, (row) => {
    bus.publish({ type: 'wait-expired', label: row.label, owner: row.owner });
  });
  const scope = new Scope('process', {
    faulted: (task, fault) => bus.publish({ type: 'task-faulted', task, fault }),
    stuck: (task) => bus.publish({ type: 'task-stuck', task }),
  });
  return {
    clock: options.clock,
    timers,
    wheel,
    waits,
    ceilings,
    bus,
    secrets,
    scope,
    openWork: new OpenWork({ ceilings, timers, bus }),
    turns: new Turns(timers),
    random: options.random,
    deadline: (ms) => Deadline.after(ms, wheel),
  };
}

/** Returns timers whose callbacks cannot end the process: what one throws is passed to `faulted`. */
function guardedTimers(timers: Timers, faulted: (fault: unknown) => void): Timers {
  const guarded = (fn: () => void) => (): void => {
    try {
      fn();
    } catch (fault) {
      faulted(fault);
    }
  };
  return {
    after: (ms, fn) => timers.after(ms, guarded(fn)),
    every: (ms, fn, jitter) => timers.every(ms, guarded(fn), jitter),
    afterInput: (fn) => timers.afterInput(guarded(fn)),
    runLate: (nowMs) => timers.runLate(nowMs),
  };
}

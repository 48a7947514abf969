/**
 * A point in time at which a wait ends, and the one object that cancels work. `waits.ts` awaits promises under a
 * deadline.
 * Guarantees: every deadline ends; the first reason is kept; each listener runs once; a child never outlives its
 * parent.
 */

import { HubError } from '../model/errors.ts';
import type { Clock } from './clock.ts';
import type { TimerWheel, TimerWheelEntry } from './timer-wheel.ts';

/** Why a deadline ended. `done`: the work finished and the deadline was disposed of. */
export type EndReason = 'time-up' | 'client-gone' | 'cancelled' | 'revoked' | 'draining' | 'stopped' | 'done';

export class Deadline implements Disposable {
  readonly #wheel: TimerWheel;
  readonly #entry: TimerWheelEntry;
  #ended: EndReason | undefined;
  #listeners: ((reason: EndReason) => void)[] | undefined; // bounded by: the waits of one call
  #leaveParent: (() => void) | undefined;
  #controller: AbortController | undefined;
  #atMs: number;

  /** Returns a deadline that ends `ms` from now, at least 0. NaN and Infinity are faults. */
  static after(ms: number, wheel: TimerWheel): Deadline {
    if (!Number.isFinite(ms))
      throw new HubError('internal', { message: `a deadline needs a finite length, got ${ms}` });
    return new Deadline(wheel.clock.nowMs() + Math.max(ms, 0), wheel);
  }

  constructor(atMs: number, wheel: TimerWheel) {
    this.#wheel = wheel;
    this.#atMs = atMs;
    this.#entry = wheel.add(atMs, () => this.end('time-up'));
  }

  get clock(): Clock {
    return this.#wheel.clock;
  }

  /** Monotonic time at which it ends by itself, in ms. */
  get atMs(): number {
    return this.#atMs;
  }

  /** Why it ended; undefined while it runs. Also set between the time itself and the tick that announces it. */
  get ended(): EndReason | undefined {
    if (this.#ended === undefined && this.#wheel.clock.nowMs() >= this.#atMs) this.end('time-up');
    return this.#ended;
  }

  remainingMs(): number {
    return this.#ended === undefined ? Math.max(0, this.#atMs - this.#wheel.clock.nowMs()) : 0;
  }

  /**
   * Returns a child that ends after `ms`, or with this deadline if that is sooner. Dispose of it when its work is done.
   */
  sooner(ms: number): Deadline {
    const child = new Deadline(Math.min(this.#atMs, this.#wheel.clock.nowMs() + Math.max(ms, 0)), this.#wheel);
    child.#leaveParent = this.onEnd((reason) => child.end(reason));
    return child;
  }

  /**
   * Moves the end: sooner for a strict timeout, later while the user of a call is asked. Does nothing after the end.
   * Children keep their own ends.
   */
  moveTo(atMs: number): void {
    if (this.#ended !== undefined) return;
    this.#atMs = atMs;
    this.#wheel.move(this.#entry, atMs);
  }

  /** Ends it now. Only the first call counts. */
  end(reason: EndReason): void {
    if (this.#ended !== undefined) return;
    this.#ended = reason;
    this.#wheel.remove(this.#entry);
    this.#leaveParent?.();
    this.#leaveParent = undefined;
    const listeners = this.#listeners;
    this.#listeners = undefined;
    if (listeners && reason !== 'done') callAll(listeners, reason);
    if (reason !== 'done') this.#controller?.abort(new HubError('wait-expired', { message: `deadline: ${reason}` }));
  }

  /**
   * Calls `listener` when it ends for a reason other than `done`; at once if it already has. Returns a function that
   * removes the listener.
   */
  onEnd(listener: (reason: EndReason) => void): () => void {
    const ended = this.ended;
    if (ended !== undefined) {
      if (ended !== 'done') listener(ended);
      return () => {};
    }
    this.#listeners ??= [];
    this.#listeners.push(listener);
    return () => {
      const at = this.#listeners?.indexOf(listener) ?? -1;
      if (at >= 0) this.#listeners?.splice(at, 1);
    };
  }

  /**
   * An AbortSignal for libraries that need one; created at first use, because it costs more than the deadline itself.
   */
  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController();
      const ended = this.ended;
      if (ended !== undefined && ended !== 'done') {
        this.#controller.abort(new HubError('wait-expired', { message: `deadline: ${ended}` }));
      }
    }
    return this.#controller.signal;
  }

  /** Ends it with `done`: the work has finished, and no listener is called. */
  [Symbol.dispose](): void {
    this.end('done');
  }
}

/** Calls all listeners, even if one throws; then throws the first fault. */
function callAll(listeners: readonly ((reason: EndReason) => void)[], reason: EndReason): void {
  const faults: unknown[] = []; // bounded by: listeners
  for (const listener of listeners) {
    try {
      listener(reason);
    } catch (fault) {
      faults.push(fault);
    }
  }
  if (faults.length > 0) throw faults[0];
}

/**
 * Calls back when nothing has happened for a time: streams and connections touch it with every byte.
 * Guarantees: `touch` only writes a field; the callback runs once for each silence, and never after disposal.
 */
import type { TimerWheel, TimerWheelEntry } from './timer-wheel.ts';

/**
 * Calls back when there was no activity for `idleMs`. `touch` only writes a field; the wheel checks when the time is
 * up. A stream has one of these, touched by every byte, beside a maximum age.
 */
export class IdleWatch implements Disposable {
  readonly #wheel: TimerWheel;
  readonly #entry: TimerWheelEntry;
  readonly #onIdle: (silentMs: number) => void;
  #idleMs: number;
  #touchedMs: number;
  #stopped = false;

  /** `nowMs`: the current time, if the caller has it. */
  constructor(
    idleMs: number,
    wheel: TimerWheel,
    onIdle: (silentMs: number) => void,
    nowMs: number = wheel.clock.nowMs(),
  ) {
    this.#wheel = wheel;
    this.#idleMs = idleMs;
    this.#onIdle = onIdle;
    this.#touchedMs = nowMs;
    this.#entry = wheel.add(this.#touchedMs + idleMs, () => this.#look());
  }

  /** Records activity now. `nowMs`: the current time, if the caller has it. */
  touch(nowMs: number = this.#wheel.clock.nowMs()): void {
    this.#touchedMs = nowMs;
  }

  get silentMs(): number {
    return this.#wheel.clock.nowMs() - this.#touchedMs;
  }

  /** Starts over with another `idleMs` (used to probe first and end later). */
  rearm(idleMs: number): void {
    if (this.#stopped) return;
    this.#idleMs = idleMs;
    this.#wheel.move(this.#entry, this.#touchedMs + idleMs);
  }

  #look(): void {
    if (this.#stopped) return;
    const silentMs = this.silentMs;
    if (silentMs >= this.#idleMs) this.#onIdle(silentMs);
    else this.#wheel.move(this.#entry, this.#touchedMs + this.#idleMs);
  }

  [Symbol.dispose](): void {
    this.#stopped = true;
    this.#wheel.remove(this.#entry);
  }
}

/**
 * Computes the delay before a link reconnects.
 * Guarantees: retries never stop and are at most `restartCapMs` apart, so that a recovered server is used after at most
 * 65 s; a child that keeps exiting without having served is started at most 8 times in 5 minutes
 * (`connection-history.ts` decides what counts as served).
 */
import type { Limits } from '../../config/limits.ts';
import { backoffMs } from '../../runtime/backoff.ts';
import type { Timers } from '../../runtime/clock.ts';

export type LinkKind = 'local' | 'remote' | 'forward';

/** Number of quick attempts of a child before each delay is the longest. */
export const QUICK_TRIES = 2;
/** First delay to another worker, ms: it is reached over a local socket, and calls wait for it. */
const FORWARD_BASE_MS = 100;
/** Longest delay to another worker, ms: it is back within two seconds of a restart. */
const FORWARD_CAP_MS = 2000;

/** `failures`: connections in a row that failed or ended early, from 1. */
function restMs(kind: LinkKind, failures: number, limits: Limits, random: () => number): number {
  const { restartBaseMs: baseMs, restartCapMs: capMs } = limits;
  if (kind === 'local' && failures > QUICK_TRIES) return Math.round(capMs * (0.9 + 0.1 * random()));
  if (kind !== 'forward') return backoffMs(failures, { baseMs, capMs }, random);
  const soon = { baseMs: Math.min(baseMs, FORWARD_BASE_MS), capMs: Math.min(capMs, FORWARD_CAP_MS) };
  return backoffMs(failures, soon, random);
}

/** The backoff of one link. */
export class ReconnectBackoff {
  readonly #kind: LinkKind;
  #failures = 0;
  #asked = false;
  #woken = false;
  #wake: (() => void) | undefined;

  constructor(kind: LinkKind) {
    this.#kind = kind;
  }

  /** Connections in a row that failed or ended early. */
  get failures(): number {
    return this.#failures;
  }

  /** Sets the number of failures in a row before this link was created. */
  resume(failures: number): void {
    this.#failures = failures;
  }

  /** Records the start of a connection. */
  begin(): void {
    this.#asked = this.#woken = false;
  }

  /** Resets the count: the connection that ends now was a good one. */
  reset(): void {
    this.#failures = 0;
  }

  /** Retries now, on request of a person, whatever has failed before. */
  retryNow(): void {
    this.#asked = true;
    this.#failures = 0;
    this.#wake?.();
  }

  /** Returns the delay in ms after the end of a connection. */
  next(limits: Limits, random: () => number): number {
    this.#failures += 1;
    return this.#asked ? 0 : restMs(this.#kind, this.#failures, limits, random);
  }

  /** Settles after `ms`, or when woken; with undefined only when woken. */
  async sleep(ms: number | undefined, timers: Timers): Promise<void> {
    if (ms === 0 || this.#asked || this.#woken) return;
    await new Promise<void>((resolve) => {
      const timer = ms === undefined ? undefined : timers.after(ms, resolve);
      this.#wake = () => {
        timer?.[Symbol.dispose]();
        resolve();
      };
    });
    this.#wake = undefined;
  }

  /** Ends the current delay, or the next one if there is none. */
  wake(): void {
    this.#woken = true;
    this.#wake?.();
  }
}

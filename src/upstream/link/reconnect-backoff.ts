/**
 * How long a link rests before it tries again.
 * Promises: for ever with rests of at most `restartCapMs`, so that a server is back at most 65 s after it is well; a child that dies again and again without
 * having served is started at most 8 times in 5 minutes (P15). What counts as having served says `connection-history.ts`.
 */
import type { Limits } from '../../config/limits.ts';
import { backoffMs } from '../../runtime/backoff.ts';
import type { Timers } from '../../runtime/clock.ts';

export type LinkKind = 'local' | 'remote' | 'forward';

/** Quick tries of a child before it gets the longest rest each time. */
export const QUICK_TRIES = 2;
/** A sibling hub is asked over a local socket: cheap, and back within a second or two after a restart. */
const FORWARD_CAP_MS = 2000;

/** `failures` = lives in a row that failed or ended early, from 1. */
function restMs(kind: LinkKind, failures: number, limits: Limits, random: () => number): number {
  const { restartBaseMs: baseMs, restartCapMs: capMs } = limits;
  if (kind === 'local' && failures > QUICK_TRIES) return Math.round(capMs * (0.9 + 0.1 * random()));
  return backoffMs(failures, { baseMs, capMs: kind === 'forward' ? Math.min(capMs, FORWARD_CAP_MS) : capMs }, random);
}

/** The rests of one link. */
export class ReconnectBackoff {
  readonly #kind: LinkKind;
  #failures = 0;
  #asked = false;
  #woken = false;
  #wake: (() => void) | undefined;

  constructor(kind: LinkKind) {
    this.#kind = kind;
  }

  /** Lives in a row that failed or ended early. */
  get failures(): number {
    return this.#failures;
  }

  /** So many lives in a row have failed before this link was made. */
  resume(failures: number): void {
    this.#failures = failures;
  }

  /** A life begins. */
  begin(): void {
    this.#asked = this.#woken = false;
  }

  /** The life that ends now was a good one: counting starts anew. */
  reset(): void {
    this.#failures = 0;
  }

  /** A person wants it now, whatever went before. */
  retryNow(): void {
    this.#asked = true;
    this.#failures = 0;
    this.#wake?.();
  }

  /** A life is over: how long to rest, ms. */
  next(limits: Limits, random: () => number): number {
    this.#failures += 1;
    return this.#asked ? 0 : restMs(this.#kind, this.#failures, limits, random);
  }

  /** Settles after `ms`, or when woken; undefined = when woken only. */
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

  /** Ends this rest, also one that is still to come. */
  wake(): void {
    this.#woken = true;
    this.#wake?.();
  }
}

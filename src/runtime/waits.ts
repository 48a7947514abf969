/**
 * The table of waits: the only place where a promise from outside the process is awaited (GET /api/waits).
 * Guarantees: each wait has a label, an owner and a deadline, at which it ends whether or not the other side responds;
 * a late result is disposed of; each wait is in `table()` while it lasts. The work itself goes on: end it with `onEnd`
 * or `signal`.
 */

import { HubError } from '../model/errors.ts';
import type { ContainerLimits } from './capped.ts';
import { CappedSlots } from './capped-slots.ts';
import type { Clock } from './clock.ts';
import type { Deadline, EndReason } from './deadline.ts';
import type { WaitLabel } from './wait-labels.ts';

export interface WaitSpec<T> {
  readonly label: WaitLabel;
  /** Who waits, for people: a request id or the name of a server. Never a secret. */
  readonly owner: string;
  readonly deadline: Deadline;
  /** Disposes of a result that came after the deadline: closes the socket, releases the permit. */
  readonly late?: (result: T) => void;
}

export interface WaitRow {
  readonly label: WaitLabel;
  readonly owner: string;
  readonly ageMs: number;
  readonly remainingMs: number;
}

/** An open entry of the table; `leave` may be called twice. */
export interface Wait {
  leave(): void;
}

interface Entry {
  readonly label: WaitLabel;
  readonly owner: string;
  readonly sinceMs: number;
  readonly deadline: Deadline;
}

/** One object for an entry and its end, because one is created for each call. */
class OpenWait implements Entry, Wait {
  readonly label: WaitLabel;
  readonly owner: string;
  readonly sinceMs: number;
  readonly deadline: Deadline;
  readonly #entries: CappedSlots<Entry>;
  readonly #slot: number;
  #left = false;

  constructor(label: WaitLabel, owner: string, deadline: Deadline, sinceMs: number, entries: CappedSlots<Entry>) {
    this.label = label;
    this.owner = owner;
    this.deadline = deadline;
    this.sinceMs = sinceMs;
    this.#entries = entries;
    this.#slot = entries.add(this);
    if (this.#slot < 0) throw new HubError('overloaded', { message: 'the table of waits is full' });
  }

  leave(): void {
    if (this.#left) return;
    this.#left = true;
    this.#entries.free(this.#slot);
  }
}

export class Waits {
  readonly #clock: Clock;
  readonly #entries: CappedSlots<Entry>;
  readonly #expired: (row: WaitRow, reason: EndReason) => void;

  /**
   * `expired` is called for each wait that ended at its deadline. More than `max` open waits are refused
   * (`overloaded`).
   */
  constructor(
    clock: Clock,
    ceilings: ContainerLimits,
    max: number,
    expired: (row: WaitRow, reason: EndReason) => void,
  ) {
    this.#clock = clock;
    this.#entries = new CappedSlots<Entry>('kernel.waits', max, ceilings);
    this.#expired = expired;
  }

  /**
   * Awaits `promise` until `spec.deadline`, then rejects with `HubError('wait-expired')`. A late result is passed to
   * `spec.late`; a late rejection is dropped.
   */
  async for<T>(promise: Promise<T>, spec: WaitSpec<T>): Promise<T> {
    const wait = this.open(spec.label, spec.owner, spec.deadline);
    let over = false;
    try {
      return await new Promise<T>((resolve, reject) => {
        const forget = spec.deadline.onEnd((reason) => {
          over = true;
          const row = this.#row({ label: spec.label, owner: spec.owner, sinceMs: 0, deadline: spec.deadline });
          if (reason === 'time-up') this.#expired(row, reason);
          reject(
            new HubError('wait-expired', {
              message: `${spec.label} of ${spec.owner}: ${reason}`,
              detail: { phase: spec.label },
            }),
          );
        });
        promise.then(
          (result) => {
            if (over) spec.late?.(result);
            else {
              forget();
              resolve(result);
            }
          },
          (fault: unknown) => {
            forget();
            reject(fault instanceof Error ? fault : new HubError('internal', { message: String(fault) }));
          },
        );
      });
    } finally {
      wait.leave();
    }
  }

  /**
   * Adds a wait that callbacks drive (the hot path). The caller watches the deadline and calls `leave`. `nowMs`: the
   * current time, if the caller has it.
   */
  open(label: WaitLabel, owner: string, deadline: Deadline, nowMs: number = this.#clock.nowMs()): Wait {
    return new OpenWait(label, owner, deadline, nowMs, this.#entries);
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Returns all open waits, oldest first. */
  table(): WaitRow[] {
    const rows: WaitRow[] = [];
    for (const entry of this.#entries.values()) rows.push(this.#row(entry));
    return rows.sort((a, b) => b.ageMs - a.ageMs);
  }

  #row(entry: Entry): WaitRow {
    return {
      label: entry.label,
      owner: entry.owner,
      ageMs: entry.sinceMs === 0 ? 0 : Math.round(this.#clock.nowMs() - entry.sinceMs),
      remainingMs: Math.round(entry.deadline.remainingMs()),
    };
  }
}

/**
 * The ledger of waits: the only place where a promise of the outside is awaited. "What is the hub waiting for?" has its answer here.
 * Promises: each wait has a label, an owner, a deadline and a way to dispose of a late result; it ends at the deadline whether or not
 * the other side cooperates; each is visible in `table()` (GET /api/waits) while it lasts.
 * Does not: stop the work that it waited for. The deadline's `onEnd` and `signal` do that, in the file that started the work.
 */

import { HubError } from '../model/errors.ts';
import { CappedSlots, type ContainerLimits } from './capped.ts';
import type { Clock } from './clock.ts';
import type { Deadline, EndReason } from './deadline.ts';

/** The closed list of places where this product waits. A new one is a decision: add it here. */
export type WaitLabel =
  | 'body'
  | 'kernel-table'
  | 'upstream-listen'
  | 'drain'
  | 'client-answer'
  | 'upstream-queue'
  | 'upstream-call'
  | 'upstream-connect'
  | 'upstream-handshake'
  | 'upstream-list'
  | 'upstream-ping'
  | 'upstream-start'
  | 'upstream-install'
  | 'upstream-stop'
  | 'upstream-cancel'
  | 'dns'
  | 'first-catalog'
  | 'link-ready'
  | 'owner-forward'
  | 'replay-fetch'
  | 'cache-lookup'
  | 'control-forward'
  | 'relay-connect'
  | 'snapshot-read'
  | 'snapshot-write'
  | 'first-snapshot'
  | 'store'
  | 'config-read'
  | 'login-shell'
  | 'hub-ask'
  | 'keys-confirm'
  | 'service-start'
  | 'service-stop'
  | 'scope-close'
  | 'probe'
  | 'background';

export interface WaitSpec<T> {
  readonly label: WaitLabel;
  /** Who waits, for people: a request id, a server's name. Never a secret. */
  readonly owner: string;
  readonly deadline: Deadline;
  /** Disposes of a result that came after the deadline (close the socket, free the permit). */
  readonly late?: (result: T) => void;
}

export interface WaitRow {
  readonly label: WaitLabel;
  readonly owner: string;
  readonly ageMs: number;
  readonly remainingMs: number;
}

/** An open entry of the ledger; `leave` is safe to call twice. */
export interface Wait {
  leave(): void;
}

interface Entry {
  readonly label: WaitLabel;
  readonly owner: string;
  readonly sinceMs: number;
  readonly deadline: Deadline;
}

/** One object for an entry and how it leaves: one is made for each call. */
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

  /** `expired` hears of every wait that ended at its deadline. At most `max` waits are open; more is a fault of the hub (`overloaded`). */
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

  /** Awaits `promise` until `spec.deadline`; rejects with `HubError('wait-expired')` then. Late results go to `spec.late`, late rejections nowhere. */
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

  /** Enters a wait that is driven by callbacks (the hot path). The caller watches the deadline and leaves. `nowMs`: where it is known. */
  open(label: WaitLabel, owner: string, deadline: Deadline, nowMs: number = this.#clock.nowMs()): Wait {
    return new OpenWait(label, owner, deadline, nowMs, this.#entries);
  }

  get size(): number {
    return this.#entries.size;
  }

  /** All open waits, oldest first. */
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

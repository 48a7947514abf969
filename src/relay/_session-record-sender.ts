/**
 * Session records of a worker that control has not confirmed yet.
 * Guarantees: each is sent again on every new connection until control confirms it; the number of all and of one owner
 * is limited, and the owner with most loses one.
 */
import type { Limits } from '../config/limits.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { FairMap } from '../runtime/shares.ts';
import type { SessionRecord } from './relay-messages.ts';

export class SessionRecordSender {
  readonly #limits: Limits;
  readonly #records: FairMap<string, SessionRecord>;
  /** Ids of the records that are not sent on this connection. */
  readonly #unsent: FairMap<string, true>;

  constructor({ runtime, limits }: { readonly runtime: Runtime; readonly limits: Limits }) {
    this.#limits = limits;
    const bounds = { max: () => limits.tombstones, share: () => limits.tombstonesPerKey };
    this.#records = new FairMap('relay.marks', bounds, 'evict-greediest', runtime.ceilings);
    this.#unsent = new FairMap('relay.unsent', bounds, 'evict-greediest', runtime.ceilings);
  }

  /**
   * Takes the newest record of a session. Returns false when it is not sent: a tombstone is final, and preferences have
   * a limit.
   */
  put(record: SessionRecord): boolean {
    const known = this.#records.get(record.id);
    if (known && known.wishes === undefined) return false;
    if ((record.wishes?.length ?? 0) > this.#limits.sessionPreferencesBytes) return false;
    const { owner = '' } = record;
    this.#records.set(owner, record.id, record);
    this.#unsent.set(owner, record.id, true);
    return true;
  }

  /** Drops the records that control has stored. A record that has changed since then is kept. */
  confirm(stored: readonly SessionRecord[]): void {
    for (const { id, atMs, wishes } of stored)
      if (wishes === undefined || atMs >= (this.#records.get(id)?.atMs ?? 0)) this.#records.delete(id);
  }

  /** Sends everything again, on a new connection. */
  resendAll(): void {
    for (const [id, { owner = '' }] of this.#records.entries()) this.#unsent.set(owner, id, true);
  }

  /** Sends what is unsent, until `send` returns false. */
  flush(send: (record: SessionRecord) => boolean): void {
    for (const id of this.#unsent.keys()) {
      const record = this.#records.get(id);
      if (record && !send(record)) return;
      this.#unsent.delete(id);
    }
  }
}

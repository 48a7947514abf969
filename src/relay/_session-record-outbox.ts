/**
 * Queues session records for one worker and writes them only as fast as it reads, so that they never delay a snapshot.
 * Guarantees: only the newest record of a session waits; the queue has the same limit as the records of control.
 */
import type { ContainerLimits, MaxSize } from '../runtime/capped.ts';
import { FairMap } from '../runtime/shares.ts';
import { encodeMessage, type SessionRecord } from './relay-messages.ts';

/** Characters of one line; a single record may be longer. */
const LINE_BYTES = 128 * 1024;
/** Unread bytes of the connection above which records wait. */
const MAX_UNREAD_BYTES = 512 * 1024;

export class SessionRecordOutbox implements Disposable {
  readonly #pending: FairMap<string, SessionRecord>;

  constructor(max: MaxSize, ceilings: ContainerLimits) {
    // Control has already applied the limits for each key.
    this.#pending = new FairMap('relay.mark-outbox', { max, share: max }, 'evict-greediest', ceilings);
  }

  add(records: readonly SessionRecord[]): void {
    for (const record of records) {
      // Move the newest to the end: the queue keeps the order of arrival.
      this.#pending.delete(record.id);
      this.#pending.set(record.owner ?? '', record.id, record);
    }
  }

  /** Writes until the queue is empty or more than `MAX_UNREAD_BYTES` are unread. */
  flush(unread: () => number, write: (line: Buffer) => void): void {
    while (this.#pending.size > 0 && unread() <= MAX_UNREAD_BYTES) {
      const records: SessionRecord[] = []; // bounded by: LINE_BYTES
      let size = 0;
      for (const record of this.#pending.values()) {
        size += (record.wishes?.length ?? 0) + 100;
        if (records.length > 0 && size > LINE_BYTES) break;
        records.push(record);
      }
      for (const { id } of records) this.#pending.delete(id);
      write(Buffer.from(encodeMessage({ t: 'marks', marks: records })));
    }
  }

  [Symbol.dispose](): void {
    this.#pending[Symbol.dispose]();
  }
}

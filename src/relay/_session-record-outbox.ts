/**
 * Session marks on their way to one hub process, in lines of bounded size and only as fast as it reads, so that they never delay a snapshot.
 * Guarantees: of one session only the newest mark waits; what waits is bounded as control's marks are.
 */
import type { Ceilings } from '../kernel/capped.ts';
import { FairMap } from '../kernel/shares.ts';
import { lineFrom, type SessionMark } from './relay-messages.ts';

/** Text of one line; a single mark may be longer. */
const LINE_BYTES = 128 * 1024;
/** Unread bytes of the connection above which marks wait. */
const BEHIND_BYTES = 512 * 1024;

export class MarkOutbox implements Disposable {
  readonly #waiting: FairMap<string, SessionMark>;

  constructor(max: number, ceilings: Ceilings) {
    // Control has applied the shares already.
    this.#waiting = new FairMap('relay.mark-outbox', { max, share: max }, 'evict-greediest', ceilings);
  }

  add(marks: readonly SessionMark[]): void {
    for (const mark of marks) {
      // The newest goes last: an order of changes is an order of arrival.
      this.#waiting.delete(mark.id);
      this.#waiting.set(mark.owner ?? '', mark.id, mark);
    }
  }

  /** Writes until nothing waits or `unread` says that the hub is behind. */
  flush(unread: () => number, write: (line: Buffer) => void): void {
    while (this.#waiting.size > 0 && unread() <= BEHIND_BYTES) {
      const marks: SessionMark[] = []; // bounded by: LINE_BYTES
      let size = 0;
      for (const mark of this.#waiting.values()) {
        size += (mark.wishes?.length ?? 0) + 100;
        if (marks.length > 0 && size > LINE_BYTES) break;
        marks.push(mark);
      }
      for (const { id } of marks) this.#waiting.delete(id);
      write(Buffer.from(lineFrom({ t: 'marks', marks })));
    }
  }

  [Symbol.dispose](): void {
    this.#waiting[Symbol.dispose]();
  }
}

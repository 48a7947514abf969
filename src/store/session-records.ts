/**
 * What is known of sessions beyond their sealed statements: that a client has ended one, or what it wants to hear. They outlive a crash.
 * Promises: at most `max` are kept, and none older than asked for; reading is bounded by bytes; adding one twice changes nothing; an end stays
 * an end.
 */
import { sql } from 'kysely';
import type { Deadline } from '../kernel/deadline.ts';
import type { Store } from './store.ts';

export interface SessionRecord {
  /** Random part of the session's id. */
  readonly id: string;
  /** Wall clock ms. */
  readonly atMs: number;
  /** JSON text; undefined = the session has ended. */
  readonly wishes: string | undefined;
  /** Whose share it is counted for; absent = stored by a version that did not say. */
  readonly owner?: string | undefined;
}

export interface SessionRecordRange {
  /** Wall clock ms. */
  readonly sinceMs: number;
  readonly max: number;
  /** Longest text of one mark that is read. */
  readonly recordBytes: number;
  /** Texts of all that are read, newest first; ended sessions have none. */
  readonly allBytes: number;
}

/** Reads the newest marks, newest first. What is larger than the range allows is never read into memory. */
export function listSessionRecords(
  store: Store,
  range: SessionRecordRange,
  deadline: Deadline,
): Promise<SessionRecord[]> {
  return store.run(
    'list session marks',
    async (db) => {
      // A length is read from the row's head; the texts stay where they are.
      const bytes = sql<number>`octet_length(wishes)`;
      const sizes = await db
        .selectFrom('session_marks')
        .select(['at', bytes.as('bytes')])
        .where('at', '>=', range.sinceMs)
        .where('wishes', 'is not', null)
        .where(bytes, '<=', range.recordBytes)
        .orderBy('at', 'desc')
        .limit(range.max)
        .execute();
      let sum = 0;
      let tooOld = -1;
      for (const row of sizes) {
        sum += row.bytes;
        if (sum > range.allBytes) {
          tooOld = row.at;
          break;
        }
      }
      const rows = await db
        .selectFrom('session_marks')
        .selectAll()
        .where('at', '>=', range.sinceMs)
        .where((where) =>
          where.or([
            where('wishes', 'is', null),
            where.and([where('at', '>', tooOld), where(bytes, '<=', range.recordBytes)]),
          ]),
        )
        .orderBy('at', 'desc')
        .limit(range.max)
        .execute();
      return rows.map(({ id, at, wishes, owner }) => ({
        ...{ id, atMs: at, wishes: wishes ?? undefined },
        ...(owner === null ? {} : { owner }),
      }));
    },
    deadline,
  );
}

/** Drops marks whose text is longer than `recordBytes`. */
export function dropOversizedSessionRecords(store: Store, recordBytes: number, deadline: Deadline): Promise<number> {
  return store.run(
    'drop long session marks',
    async (db) => {
      const { numDeletedRows } = await db
        .deleteFrom('session_marks')
        .where(sql<number>`octet_length(wishes)`, '>', recordBytes)
        .executeTakeFirst();
      return Number(numDeletedRows);
    },
    deadline,
  );
}

/** Adds marks and drops those of `pushedOut`, in one transaction. */
export function addSessionRecords(
  store: Store,
  records: readonly SessionRecord[],
  deadline: Deadline,
  evicted: readonly string[] = [],
): Promise<void> {
  return store.run(
    'add session marks',
    async (db) => {
      for (const id of evicted) await db.deleteFrom('session_marks').where('id', '=', id).execute();
      for (const { id, atMs, wishes = null, owner = null } of records) {
        const row = { id, at: atMs, wishes, owner };
        await db
          .insertInto('session_marks')
          .values(row)
          .onConflict((old) => old.column('id').doUpdateSet(row).where('session_marks.wishes', 'is not', null))
          .execute();
      }
    },
    deadline,
  );
}

/** Forgets those before `beforeMs`. */
export function dropExpiredSessionRecords(store: Store, beforeMs: number, deadline: Deadline): Promise<void> {
  return store.run(
    'drop session marks',
    async (db) => {
      await db.deleteFrom('session_marks').where('at', '<', beforeMs).execute();
    },
    deadline,
  );
}

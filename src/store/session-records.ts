/**
 * Stores session records (tombstones and preferences) in the table `session_marks`. They survive a crash.
 * Guarantees: reading is limited by number, age and bytes; adding a record twice changes nothing; a tombstone is never
 * replaced.
 */
import { sql } from 'kysely';
import type { Deadline } from '../runtime/deadline.ts';
import type { Store } from './store.ts';

export interface SessionRecord {
  /** Random part of the session id. */
  readonly id: string;
  /** Wall clock ms. */
  readonly atMs: number;
  /** Preferences as JSON text; undefined = tombstone: the session has ended. */
  readonly wishes: string | undefined;
  /** Whose share it is charged to; absent = written by an older version. */
  readonly owner?: string | undefined;
}

export interface SessionRecordRange {
  /** Wall clock ms. */
  readonly sinceMs: number;
  readonly max: number;
  /** Longest text of one record that is read. */
  readonly recordBytes: number;
  /** Total bytes of the texts that are read, newest first; tombstones have none. */
  readonly allBytes: number;
}

/** Returns the newest records, newest first. Larger ones than the range allows are never read into memory. */
export function listSessionRecords(
  store: Store,
  range: SessionRecordRange,
  deadline: Deadline,
): Promise<SessionRecord[]> {
  return store.run(
    'list session records',
    async (db) => {
      // The length is in the header of the row: the text itself is not read.
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
        id,
        atMs: at,
        wishes: wishes ?? undefined,
        ...(owner === null ? {} : { owner }),
      }));
    },
    deadline,
  );
}

/** Deletes records whose text is longer than `recordBytes`. Returns their number. */
export function dropOversizedSessionRecords(store: Store, recordBytes: number, deadline: Deadline): Promise<number> {
  return store.run(
    'delete oversized session records',
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

/** Adds records and deletes the evicted ones, in one transaction. */
export function addSessionRecords(
  store: Store,
  records: readonly SessionRecord[],
  deadline: Deadline,
  evicted: readonly string[] = [],
): Promise<void> {
  return store.run(
    'add session records',
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

/** Deletes records older than `beforeMs`. */
export function dropExpiredSessionRecords(store: Store, beforeMs: number, deadline: Deadline): Promise<void> {
  return store.run(
    'delete expired session records',
    async (db) => {
      await db.deleteFrom('session_marks').where('at', '<', beforeMs).execute();
    },
    deadline,
  );
}

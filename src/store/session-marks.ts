/**
 * What is known of sessions beyond their sealed statements: that a client has ended one, or what it wants to hear. They outlive a crash.
 * Promises: at most `max` are kept, and none older than asked for; adding one twice changes nothing; an end stays an end.
 */
import type { Deadline } from '../kernel/deadline.ts';
import type { Store } from './store.ts';

export interface SessionMark {
  /** Random part of the session's id. */
  readonly id: string;
  /** Wall clock ms. */
  readonly atMs: number;
  /** JSON text; undefined = the session has ended. */
  readonly wishes: string | undefined;
}

/** Those at or after `sinceMs`, newest first, at most `max`. */
export function listSessionMarks(
  store: Store,
  range: { readonly sinceMs: number; readonly max: number },
  deadline: Deadline,
): Promise<SessionMark[]> {
  return store.run(
    'list session marks',
    async (db) => {
      const rows = await db
        .selectFrom('session_marks')
        .selectAll()
        .where('at', '>=', range.sinceMs)
        .orderBy('at', 'desc')
        .limit(range.max)
        .execute();
      return rows.map(({ id, at, wishes }) => ({ id, atMs: at, wishes: wishes ?? undefined }));
    },
    deadline,
  );
}

export function addSessionMarks(store: Store, marks: readonly SessionMark[], deadline: Deadline): Promise<void> {
  return store.run(
    'add session marks',
    async (db) => {
      for (const { id, atMs, wishes = null } of marks) {
        const row = { id, at: atMs, wishes };
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
export function dropSessionMarks(store: Store, beforeMs: number, deadline: Deadline): Promise<void> {
  return store.run(
    'drop session marks',
    async (db) => {
      await db.deleteFrom('session_marks').where('at', '<', beforeMs).execute();
    },
    deadline,
  );
}

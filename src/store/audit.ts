/**
 * Audit log: who changed what. An entry is written in the transaction of the change it describes.
 * Guarantees: entries contain no secrets; at most `KEPT` entries are kept. The column of `actor` is `who`.
 */
import type { Deadline } from '../runtime/deadline.ts';
import type { Db, Store } from './store.ts';

const KEPT = 100_000;

export interface AuditEntry {
  /** Wall clock ms. */
  readonly atMs: number;
  readonly actor: string;
  readonly action: string;
  readonly subject: string;
}

/** Adds an entry within the transaction of the change; deletes the oldest entries above the limit. */
export async function recordAudit(db: Db, entry: AuditEntry): Promise<void> {
  const { atMs, actor, action, subject } = entry;
  await db.insertInto('audit').values({ at: atMs, who: actor, action, subject }).execute();
  const oldest = await db.selectFrom('audit').select('at').orderBy('at', 'desc').offset(KEPT).limit(1).execute();
  const before = oldest[0]?.at;
  if (before !== undefined) await db.deleteFrom('audit').where('at', '<=', before).execute();
}

/** Returns entries, newest first. */
export function listAudit(store: Store, max: number, deadline: Deadline): Promise<AuditEntry[]> {
  return store.run(
    'list audit',
    async (db) => {
      const rows = await db.selectFrom('audit').selectAll().orderBy('at', 'desc').limit(max).execute();
      return rows.map(({ at, who: actor, action, subject }) => ({ atMs: at, actor, action, subject }));
    },
    deadline,
  );
}

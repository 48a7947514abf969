/**
 * Opens the database with node:sqlite, and adapts it to the SQLite dialect of Kysely.
 * Guarantees: the file has mode 0600 before it contains data; WAL with synchronous=FULL, so that acknowledged writes
 * survive `kill -9` and power loss; a file that fails `quick_check` is not opened. The control process is the only
 * user, so the busy timeout is short.
 */
import { chmod, open } from 'node:fs/promises';
import { DatabaseSync, type SQLInputValue } from 'node:sqlite';
import type { SqliteDatabase } from 'kysely';
import { HubError } from '../model/errors.ts';

const BUSY_MS = 250;

/** Small, so that a long transaction writes pages as it goes and not all at its end. */
const CACHE_KIB = 256;
/** WAL pages that trigger a checkpoint during a commit. The store usually checkpoints earlier (`checkpoint`). */
const CHECKPOINT_PAGES = 4000;

/** Moves committed pages from the WAL to the database. Throws when the disk fails; no data is lost. */
export function checkpoint(database: DatabaseSync): void {
  database.exec('pragma wal_checkpoint(passive)');
}

export async function openDatabase(path: string): Promise<DatabaseSync> {
  const file = await open(path, 'a', 0o600);
  await file.close();
  await chmod(path, 0o600);
  const database = new DatabaseSync(path, { timeout: BUSY_MS, enableForeignKeyConstraints: true });
  try {
    database.exec('pragma journal_mode = wal; pragma synchronous = full; pragma trusted_schema = off;');
    database.exec(`pragma cache_size = -${CACHE_KIB}; pragma wal_autocheckpoint = ${CHECKPOINT_PAGES};`);
    const check = database.prepare('pragma quick_check(1)').get();
    const result = String(Object.values(check ?? {})[0]);
    if (result !== 'ok') {
      throw new HubError('store-failed', { message: `the database ${path} is damaged: ${result}` });
    }
    return database;
  } catch (fault) {
    database.close();
    throw fault;
  }
}

export function versionOf(database: DatabaseSync): number {
  return Number(database.prepare('pragma user_version').get()?.user_version ?? 0);
}

/** Adapts a database to the interface that Kysely's SqliteDialect expects. */
export function kyselyDatabase(database: DatabaseSync): SqliteDatabase {
  return {
    close: () => database.close(),
    prepare(sql) {
      const statement = database.prepare(sql);
      return {
        reader: statement.columns().length > 0,
        all: (parameters) => statement.all(...(parameters as SQLInputValue[])),
        run: (parameters) => statement.run(...(parameters as SQLInputValue[])),
        iterate: (parameters) => statement.iterate(...(parameters as SQLInputValue[])),
      };
    },
  };
}

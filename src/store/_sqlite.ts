/**
 * Edge to node:sqlite: opens the one file, and gives Kysely the few functions that its SQLite dialect wants.
 * Promises: the file is 0600 before anything is in it; WAL with synchronous=FULL, so that what was acknowledged survives `kill -9` and a
 * power cut; a file that fails `quick_check` is not opened.
 * Does not: wait for another writer longer than a blink; this process is the only one.
 */
import { chmod, open } from 'node:fs/promises';
import { DatabaseSync, type SQLInputValue } from 'node:sqlite';
import type { SqliteDatabase } from 'kysely';
import { HubError } from '../kernel/errors.ts';

const BUSY_MS = 250;

/** Small, so that pages of a long transaction are written on the way and not all at its end. */
const CACHE_KIB = 256;
/** Of the WAL; a checkpoint in the middle of a commit. The store makes its own before (`checkpoint`). */
const CHECKPOINT_PAGES = 4000;

/** Moves what is committed from the WAL to the database. Throws when the disk does not take it; nothing is lost then. */
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
    const verdict = String(Object.values(check ?? {})[0]);
    if (verdict !== 'ok') {
      throw new HubError('store-failed', { message: `the database ${path} is damaged: ${verdict}` });
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

/** What Kysely's SqliteDialect asks of a database. */
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

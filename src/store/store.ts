/**
 * The one handle on what must survive: keys, names, slugs, last known lists, sessions’ marks, audit. SQLite in `mcphub.db` of the data
 * directory; the control process is its only user.
 * Promises: requests run one after the other, each bounded by `storeMs` and its caller's deadline; a request that resolved is on the
 * disk; every failure of disk or file is a `HubError('store-failed')` to the caller and nothing worse.
 * Does not: know tables (the files beside it: `keys.ts`, `names.ts` …) or keep anything in memory.
 */
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { Kysely, SqliteDialect, type Transaction } from 'kysely';
import type { Limits } from '../config/limits.ts';
import { CappedCount } from '../kernel/capped.ts';
import type { Deadline } from '../kernel/deadline.ts';
import { HubError } from '../kernel/errors.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { takeTurn } from '../kernel/take-turn.ts';
import { migrate } from './_migrate.ts';
import { checkpoint, kyselyDatabase, openDatabase, versionOf } from './_sqlite.ts';
import { MIGRATIONS, type Migration } from './migrations.ts';
import type { Tables } from './schema.ts';

export const STORE_FILE = 'mcphub.db';
const REQUESTS = 4096;
/** Short transactions write some pages each. */
const CHECKPOINT_AFTER = 64;

export type Db = Kysely<Tables> | Transaction<Tables>;

/** Lets the event loop turn between two parts of long work; other requests wait until all of it is over. */
export type Turn = () => Promise<void>;

export interface Store {
  /** Path of the database file. */
  readonly path: string;
  readonly version: number;
  /** The last failure, until a request succeeds again. */
  readonly failing: HubError | undefined;
  /** Runs `work` in a transaction, after those asked before it. `what` is for people. Throws store-failed, overloaded or wait-expired. */
  run<T>(what: string, work: (db: Db, turn: Turn) => Promise<T>, deadline: Deadline): Promise<T>;
  /** Forward or back to a version, with a copy made before. */
  migrateTo(version: number, deadline: Deadline): Promise<void>;
  /** Ends after the requests asked before. Never rejects. */
  close(deadline: Deadline): Promise<void>;
}

export interface StoreOptions {
  readonly kernel: Kernel;
  readonly limits: Limits;
  /** Data directory; must exist. */
  readonly dir: string;
  /** For tests; otherwise the product's own. */
  readonly migrations?: readonly Migration[];
}

/**
 * Opens, checks and migrates. Throws `store-failed` (disk, damaged file) or `config-invalid` (made by a newer program: nothing
 * but another program helps).
 */
export async function openStore(options: StoreOptions, deadline: Deadline): Promise<Store> {
  const { kernel, dir, migrations = MIGRATIONS } = options;
  const path = join(dir, STORE_FILE);
  const newest = migrations.at(-1)?.version ?? 0;
  const opening = openDatabase(path).then(async (database) => {
    try {
      return { database, migrated: await migrate(database, { path, migrations, target: newest }) };
    } catch (fault) {
      database.close();
      throw fault;
    }
  });
  const late = (opened: { database: DatabaseSync }) => opened.database.close();
  try {
    const { database, migrated } = await kernel.waits.for(opening, { label: 'store', owner: 'open', deadline, late });
    if (migrated.from !== migrated.to) {
      kernel.bus.publish({ type: 'store-migrated', from: migrated.from, to: migrated.to, backup: migrated.backup });
    }
    return storeOn(database, { ...options, migrations, path });
  } catch (fault) {
    throw storeFault('open', fault);
  }
}

function storeOn(
  database: DatabaseSync,
  options: StoreOptions & { readonly migrations: readonly Migration[]; readonly path: string },
): Store {
  const { kernel, limits, path, migrations } = options;
  const db = new Kysely<Tables>({ dialect: new SqliteDialect({ database: kyselyDatabase(database) }) });
  const requests = new CappedCount('store.requests', REQUESTS, 'refuse', kernel.ceilings);
  /** Transactions since the last checkpoint. */
  let transactions = 0;
  /** The last transaction was a long one. */
  let isLong = false;
  const turn = (): Promise<void> => {
    isLong = true;
    return takeTurn(kernel, 'store');
  };
  let last: Promise<unknown> = Promise.resolve();
  let failing: HubError | undefined;
  let closed = false;

  /** SQLite has one connection and one transaction at a time, so requests queue here. */
  function enqueue<T>(work: () => Promise<T>): Promise<T> {
    if (closed) return Promise.reject(new HubError('store-failed', { message: 'the store is closed' }));
    if (!requests.take())
      return Promise.reject(new HubError('overloaded', { message: 'the store has too many requests' }));
    const result = last.then(work).finally(() => requests.give());
    last = result.catch(() => {});
    return result;
  }

  /** After long work, or much: in a turn of its own, for a commit and a checkpoint of 4 MB take 8 ms each (measured). */
  async function checkpointIfDue(): Promise<void> {
    transactions += 1;
    if (!isLong && transactions < CHECKPOINT_AFTER) return;
    isLong = false;
    transactions = 0;
    await takeTurn(kernel, 'store');
    try {
      if (!closed) checkpoint(database);
    } catch {
      // Nothing is lost; a disk that does not take it fails the next transaction, which is reported.
    }
  }

  async function ask<T>(what: string, work: () => Promise<T>, deadline: Deadline): Promise<T> {
    using share = deadline.sooner(limits.storeMs);
    try {
      // A request whose asker has gone is not begun: it would be acknowledged to nobody.
      const turn = enqueue(() => {
        if (share.ended !== undefined) throw new HubError('wait-expired', { message: `store: ${what}` });
        // A full disk can fail the rollback too; nothing of that request may leak into this one.
        if (database.isTransaction) database.exec('rollback');
        return work();
      });
      const result = await kernel.waits.for(turn, { label: 'store', owner: what, deadline: share });
      failing = undefined;
      return result;
    } catch (fault) {
      const known = storeFault(what, fault);
      if (known.code === 'store-failed') failing = known;
      throw known;
    }
  }

  return {
    path,
    get version() {
      return closed ? 0 : versionOf(database);
    },
    get failing() {
      return failing;
    },
    async run(what, work, deadline) {
      const result = await ask(
        what,
        () => db.transaction().execute((transaction) => work(transaction, turn)),
        deadline,
      );
      last = last.then(checkpointIfDue);
      return result;
    },
    async migrateTo(version, deadline) {
      const migrated = await ask('migrate', () => migrate(database, { path, migrations, target: version }), deadline);
      kernel.bus.publish({ type: 'store-migrated', from: migrated.from, to: migrated.to, backup: migrated.backup });
    },
    async close(deadline) {
      if (closed) return;
      try {
        await kernel.waits.for(last, { label: 'store', owner: 'close', deadline });
      } catch {
        // Closing in the middle of a request only rolls that request back.
      }
      closed = true;
      try {
        database.close();
      } catch {
        // A disk that fails now has failed before; what was acknowledged is in the file or its WAL.
      }
      requests[Symbol.dispose]();
    },
  };
}

function storeFault(what: string, fault: unknown): HubError {
  if (fault instanceof HubError) return fault;
  const words = fault instanceof Error ? fault.message : String(fault);
  return new HubError('store-failed', { message: `store: ${what}: ${words}`, cause: fault });
}

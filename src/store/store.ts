/**
 * The store of the control process: SQLite in `mcphub.db` of the data directory. The files beside it access the tables.
 * Guarantees: requests run one after the other, each limited by `storeMs` and the caller's deadline; a resolved request
 * is on disk; every failure of disk or file is a `HubError('store-failed')` for the caller and nothing else.
 */
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { Kysely, SqliteDialect, type Transaction } from 'kysely';
import type { Limits } from '../config/limits.ts';
import { HubError } from '../model/errors.ts';
import { CappedCount } from '../runtime/capped.ts';
import type { Deadline } from '../runtime/deadline.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { takeTurn } from '../runtime/take-turn.ts';
import { migrate } from './_migrate.ts';
import { checkpoint, kyselyDatabase, openDatabase, versionOf } from './_sqlite.ts';
import { MIGRATIONS, type Migration } from './migrations.ts';
import type { Tables } from './schema.ts';

export const STORE_FILE = 'mcphub.db';
const MAX_REQUESTS = 4096;
/** Transactions after which the WAL is checkpointed; short ones write a few pages each. */
const CHECKPOINT_TRANSACTIONS = 64;

export type Db = Kysely<Tables> | Transaction<Tables>;

/** Yields to the event loop between two parts of long work; other requests wait until the work is finished. */
export type Turn = () => Promise<void>;

export interface StoreOptions {
  readonly runtime: Runtime;
  readonly limits: Limits;
  /** Data directory; must exist. */
  readonly dir: string;
  /** For tests; default: the product's migrations. */
  readonly migrations?: readonly Migration[];
}

/**
 * Opens, checks and migrates the database. Throws `store-failed` (disk, damaged file) or `config-invalid` (created by a
 * newer program: only that program can open it).
 */
export async function openStore(options: StoreOptions, deadline: Deadline): Promise<Store> {
  const { runtime, dir, migrations = MIGRATIONS } = options;
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
    const { database, migrated } = await runtime.waits.for(opening, { label: 'store', owner: 'open', deadline, late });
    if (migrated.from !== migrated.to) {
      runtime.bus.publish({ type: 'store-migrated', from: migrated.from, to: migrated.to, backup: migrated.backup });
    }
    return new Store({ database, runtime, limits: options.limits, path, migrations });
  } catch (fault) {
    throw toStoreError('open', fault);
  }
}

interface OpenedStore {
  readonly database: DatabaseSync;
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly path: string;
  readonly migrations: readonly Migration[];
}

export class Store {
  /** Path of the database file. */
  readonly path: string;
  readonly #opened: OpenedStore;
  readonly #db: Kysely<Tables>;
  readonly #requests: CappedCount;
  /** Transactions since the last checkpoint. */
  #transactions = 0;
  /** Whether the last transaction was long. */
  #isLong = false;
  #last: Promise<unknown> = Promise.resolve();
  #failing: HubError | undefined;
  #isClosed = false;

  constructor(opened: OpenedStore) {
    const { database, runtime, path } = opened;
    this.path = path;
    this.#opened = opened;
    this.#db = new Kysely<Tables>({ dialect: new SqliteDialect({ database: kyselyDatabase(database) }) });
    this.#requests = new CappedCount('store.requests', MAX_REQUESTS, 'refuse', runtime.ceilings);
  }

  get version(): number {
    return this.#isClosed ? 0 : versionOf(this.#opened.database);
  }

  /** The last failure, until a request succeeds. */
  get failing(): HubError | undefined {
    return this.#failing;
  }

  /**
   * Runs `work` in a transaction, after all earlier requests. `what` appears in errors. Throws store-failed, overloaded
   * or wait-expired.
   */
  async run<T>(what: string, work: (db: Db, turn: Turn) => Promise<T>, deadline: Deadline): Promise<T> {
    const transact = () => this.#db.transaction().execute((transaction) => work(transaction, this.#turn));
    const result = await this.#request(what, transact, deadline);
    this.#last = this.#last.then(() => this.#checkpointIfDue());
    return result;
  }

  /** Migrates forward or back to a version, after making a copy. */
  async migrateTo(version: number, deadline: Deadline): Promise<void> {
    const { database, runtime, path, migrations } = this.#opened;
    const work = () => migrate(database, { path, migrations, target: version });
    const { from, to, backup } = await this.#request('migrate', work, deadline);
    runtime.bus.publish({ type: 'store-migrated', from, to, backup });
  }

  /** Closes after all earlier requests. Never rejects. */
  async close(deadline: Deadline): Promise<void> {
    if (this.#isClosed) return;
    const { database, runtime } = this.#opened;
    try {
      await runtime.waits.for(this.#last, { label: 'store', owner: 'close', deadline });
    } catch {
      // Closing during a request only rolls it back.
    }
    this.#isClosed = true;
    try {
      database.close();
    } catch {
      // A failing disk has failed before; acknowledged writes are in the file or its WAL.
    }
    this.#requests[Symbol.dispose]();
  }

  readonly #turn: Turn = () => {
    this.#isLong = true;
    return takeTurn(this.#opened.runtime, 'store');
  };

  async #request<T>(what: string, work: () => Promise<T>, deadline: Deadline): Promise<T> {
    const { database, runtime, limits } = this.#opened;
    using share = deadline.sooner(limits.storeMs);
    try {
      // Do not start a request whose caller has given up: it would be acknowledged to nobody.
      const turn = this.#enqueue(() => {
        if (share.ended !== undefined) throw new HubError('wait-expired', { message: `store: ${what}` });
        // A full disk can fail the rollback too: roll back here, so that nothing of that request leaks into this one.
        if (database.isTransaction) database.exec('rollback');
        return work();
      });
      const result = await runtime.waits.for(turn, { label: 'store', owner: what, deadline: share });
      this.#failing = undefined;
      return result;
    } catch (fault) {
      const known = toStoreError(what, fault);
      if (known.code === 'store-failed') this.#failing = known;
      throw known;
    }
  }

  /** Queues requests: SQLite has one connection and one transaction at a time. */
  #enqueue<T>(work: () => Promise<T>): Promise<T> {
    if (this.#isClosed) return Promise.reject(new HubError('store-failed', { message: 'the store is closed' }));
    if (!this.#requests.take())
      return Promise.reject(new HubError('overloaded', { message: 'the store has too many requests' }));
    const result = this.#last.then(work).finally(() => this.#requests.give());
    this.#last = result.catch(() => {});
    return result;
  }

  /**
   * Checkpoints after long work or many transactions, in a separate turn: a commit and a checkpoint of 4 MB take 8 ms
   * each (measured).
   */
  async #checkpointIfDue(): Promise<void> {
    this.#transactions += 1;
    if (!this.#isLong && this.#transactions < CHECKPOINT_TRANSACTIONS) return;
    this.#isLong = false;
    this.#transactions = 0;
    const { database, runtime } = this.#opened;
    await takeTurn(runtime, 'store');
    try {
      if (!this.#isClosed) checkpoint(database);
    } catch {
      // No data is lost; a failing disk fails the next transaction, which is reported.
    }
  }
}

function toStoreError(what: string, fault: unknown): HubError {
  if (fault instanceof HubError) return fault;
  const words = fault instanceof Error ? fault.message : String(fault);
  return new HubError('store-failed', { message: `store: ${what}: ${words}`, cause: fault });
}

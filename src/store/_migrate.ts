/**
 * Migrates a database to a version, forward or back, each step in its own transaction.
 * Guarantees: a failed step leaves the previous version; an existing database is copied to `mcphub.db.backup-v<N>`
 * (0600) before the first step; a database of a newer program is refused and not modified.
 */
import { chmod, rename, rm } from 'node:fs/promises';
import type { DatabaseSync } from 'node:sqlite';
import { HubError } from '../model/errors.ts';
import { versionOf } from './_sqlite.ts';
import type { Migration } from './migrations.ts';

export interface Migrated {
  readonly from: number;
  readonly to: number;
  /** Path of the copy; empty = the database was new or up to date. */
  readonly backup: string;
}

export async function migrate(
  database: DatabaseSync,
  options: { path: string; migrations: readonly Migration[]; target: number },
): Promise<Migrated> {
  const { path, migrations, target } = options;
  const from = versionOf(database);
  const newest = migrations.at(-1)?.version ?? 0;
  if (from > newest) {
    throw new HubError('config-invalid', {
      message:
        `the database ${path} has version ${from}, of a newer mcphub; ` +
        `this one supports versions up to ${newest}. Use the newer program, or restore ${path}.backup-v${newest}.`,
    });
  }
  if (target < 0 || target > newest) throw new HubError('internal', { message: `there is no store version ${target}` });
  if (from === target) return { from, to: target, backup: '' };
  const backup = from === 0 ? '' : await backUp(database, path, from);
  for (const step of migrations)
    if (step.version > from && step.version <= target) take(database, step.up, step.version);
  for (const step of migrations.toReversed())
    if (step.version <= from && step.version > target) take(database, step.down, step.version - 1);
  return { from, to: target, backup };
}

function take(database: DatabaseSync, sql: string, version: number): void {
  database.exec('begin immediate');
  try {
    database.exec(sql);
    database.exec(`pragma user_version = ${version}`);
    database.exec('commit');
  } catch (fault) {
    if (database.isTransaction) database.exec('rollback');
    throw fault;
  }
}

async function backUp(database: DatabaseSync, path: string, version: number): Promise<string> {
  const backup = `${path}.backup-v${version}`;
  const unfinished = `${backup}.new`;
  await rm(unfinished, { force: true });
  database.prepare('vacuum into ?').run(unfinished);
  await chmod(unfinished, 0o600);
  await rename(unfinished, backup);
  return backup;
}

/**
 * Finds the configuration file and reads its text. The caller passes the environment and the working directory.
 * Guarantees: reads regular files only (a pipe or device could block for ever), at most 4 MiB; every wait ends at the
 * deadline; a file that is named but missing is reported, never skipped.
 */
import { constants } from 'node:fs';
import { lstat, open } from 'node:fs/promises';
import { isAbsolute, join, resolve } from 'node:path';
import type { Deadline } from '../runtime/deadline.ts';
import type { Waits } from '../runtime/waits.ts';
import { type Access, otherWriters } from './file-access.ts';
import type { Environment } from './variables.ts';

export interface FileSearch {
  /** Path from the command line. */
  readonly path: string | undefined;
  readonly env: Environment;
  readonly cwd: string;
  readonly home: string;
  /** The packaged example, used when no other file exists. */
  readonly fallback?: string | undefined;
  readonly waits: Waits;
  readonly deadline: Deadline;
}

export interface FoundFile {
  /** Absolute path. */
  readonly file: string;
  readonly how: 'flag' | 'env' | 'cwd' | 'xdg' | 'fallback';
}

/** Largest configuration file; 500 servers take about 250 kB. */
const MAX_FILE_BYTES = 4 * 1024 * 1024;

const NON_BLOCKING_READ = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0);

/**
 * Returns the first that exists or is named: `path`, MCPHUB_CONFIG (or the original's MCPHUB_SETTING_PATH), the working
 * directory, XDG, `fallback`.
 */
export async function findConfigFile(search: FileSearch): Promise<FoundFile | undefined> {
  const { path, env, cwd, fallback } = search;
  if (path) return { file: resolve(cwd, path), how: 'flag' };
  const named = env.MCPHUB_CONFIG || env.MCPHUB_SETTING_PATH;
  if (named) return { file: resolve(cwd, named), how: 'env' };
  for (const place of placesOf(search)) {
    if (await isThere(place.file, search)) return place;
  }
  return fallback ? { file: resolve(cwd, fallback), how: 'fallback' } : undefined;
}

/** Returns the places that are searched when no file is named, in order. */
export function placesOf({ env, cwd, home }: Pick<FileSearch, 'env' | 'cwd' | 'home'>): readonly FoundFile[] {
  const named = env.XDG_CONFIG_HOME;
  const xdg = named && isAbsolute(named) ? named : join(home, '.config');
  return [
    { file: join(cwd, 'mcp_settings.json'), how: 'cwd' },
    { file: join(cwd, 'mcphub.jsonc'), how: 'cwd' },
    { file: join(xdg, 'mcphub', 'mcphub.jsonc'), how: 'xdg' },
    { file: join(xdg, 'mcphub', 'mcp_settings.json'), how: 'xdg' },
  ];
}

/** A dangling link counts as existing: it is an error to report, not a reason to use another file. */
async function isThere(file: string, { waits, deadline }: FileSearch): Promise<boolean> {
  const look = lstat(file).then(
    () => true,
    (fault: unknown) => !['ENOENT', 'ENOTDIR'].includes(codeOf(fault)),
  );
  return waits.for(look, { label: 'config-read', owner: 'configuration', deadline });
}

/** `writers` names who besides this user and root may write the file; undefined for nobody. */
export type FileText = { readonly text: string; readonly writers: string | undefined } | { readonly fault: string };

/** Returns the text of `file`, or a readable reason why it cannot be read. Rejects only when the deadline passes. */
export async function readConfigText(file: string, waits: Waits, deadline: Deadline): Promise<FileText> {
  const reading = readPlainFile(file).catch((fault: unknown): FileText => ({ fault: faultText(codeOf(fault)) }));
  return waits.for(reading, { label: 'config-read', owner: 'configuration', deadline });
}

async function readPlainFile(file: string): Promise<FileText> {
  // Non-blocking, because opening a named pipe would wait for its writer.
  await using handle = await open(file, NON_BLOCKING_READ);
  const found = await handle.stat();
  if (!found.isFile()) return { fault: found.isDirectory() ? 'is a directory' : 'is not a plain file' };
  if (found.size > MAX_FILE_BYTES) return { fault: `is larger than ${MAX_FILE_BYTES / 1024 / 1024} MiB` };
  const buffer = Buffer.alloc(MAX_FILE_BYTES + 1);
  let length = 0;
  for (;;) {
    const { bytesRead } = await handle.read(buffer, length, buffer.length - length);
    length += bytesRead;
    if (length > MAX_FILE_BYTES) return { fault: `is larger than ${MAX_FILE_BYTES / 1024 / 1024} MiB` };
    if (bytesRead === 0) return textFrom(buffer.subarray(0, length), writersOf(found));
  }
}

function writersOf(access: Access): string | undefined {
  const uid = process.getuid?.();
  return uid === undefined ? undefined : otherWriters(access, uid);
}

function textFrom(bytes: Buffer, writers: string | undefined): FileText {
  try {
    return { text: new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes), writers };
  } catch {
    return { fault: 'is not UTF-8 text' };
  }
}

const FAULT_TEXTS: Readonly<Record<string, string>> = {
  ENOENT: 'does not exist',
  ENOTDIR: 'does not exist',
  EACCES: 'is not readable by this user',
  EPERM: 'is not readable by this user',
  EISDIR: 'is a directory',
  ELOOP: 'is a symbolic link to itself',
  ENXIO: 'is not a plain file',
};

function faultText(code: string): string {
  return FAULT_TEXTS[code] ?? `cannot be read (${code})`;
}

function codeOf(fault: unknown): string {
  return fault instanceof Error && 'code' in fault ? String(fault.code) : 'unknown';
}

/**
 * Determines who else may write a file or use a directory of this user: configuration files, which name programs to
 * run, and the directories of keys and private sockets. Blocking; for start, the supervisor and the command line.
 */
import { lstatSync, statSync } from 'node:fs';

const GROUP_WRITE = 0o020;
const OTHERS_WRITE = 0o002;
const OTHERS_ANY = 0o077;
const ROOT_UID = 0;

/** Owner and permission bits, as `stat` returns them. */
export interface Access {
  readonly uid: number;
  readonly gid: number;
  readonly mode: number;
}

/**
 * Returns who besides the user `uid` and root may write, or undefined for nobody. A group with the same number as the
 * owner counts as the owner's private group.
 */
export function otherWriters(access: Access, uid: number): string | undefined {
  const mode = (access.mode & 0o777).toString(8);
  if (access.uid !== uid && access.uid !== ROOT_UID) return `user ${access.uid}, who owns it`;
  if ((access.mode & OTHERS_WRITE) !== 0) return `every user of this machine (mode ${mode})`;
  if ((access.mode & GROUP_WRITE) !== 0 && access.gid !== access.uid) return `group ${access.gid} (mode ${mode})`;
  return undefined;
}

/**
 * Returns warnings about a directory that others may write; follows links. Empty also when it does not exist or the
 * system has no such owners.
 */
export function directoryWarnings(path: string): readonly string[] {
  const uid = process.getuid?.();
  const access = uid === undefined ? undefined : statSync(path, { throwIfNoEntry: false });
  const writers = uid === undefined || access === undefined ? undefined : otherWriters(access, uid);
  return writers === undefined ? [] : [`${path} can be written by ${writers}; run: chmod go-w ${path}`];
}

/**
 * Returns why `dir` is not safe for private sockets (not a directory, owned by another user, or open to others), or
 * undefined when it is safe or does not exist. `ownerUid` is the user of the hub, by default of this process.
 */
export function unsafeSocketDir(dir: string, ownerUid = process.getuid?.()): string | undefined {
  const access = lstatSync(dir, { throwIfNoEntry: false });
  if (access === undefined || ownerUid === undefined) return undefined;
  if (!access.isDirectory()) return `${dir} is not a directory.`;
  if (access.uid !== ownerUid) return `${dir} belongs to user ${access.uid}, not to user ${ownerUid}.`;
  if ((access.mode & OTHERS_ANY) !== 0)
    return `${dir} is open to other users (mode ${(access.mode & 0o777).toString(8)}). Run: chmod 700 ${dir}`;
  return undefined;
}

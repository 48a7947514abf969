/**
 * Who else may write a file or use a directory of this user: for configuration files, which name programs to run, and for the directories of
 * keys and private sockets. Blocking looks, for boot, the supervisor and the command line.
 */
import { lstatSync, statSync } from 'node:fs';

const GROUP_WRITE = 0o020;
const OTHERS_WRITE = 0o002;
const OTHERS_ANY = 0o077;
const ROOT_UID = 0;

/** Owner and permission bits, as `stat` gives them. */
export interface Access {
  readonly uid: number;
  readonly gid: number;
  readonly mode: number;
}

/**
 * Says who besides the user `uid` and root may write; undefined for nobody. A group that has its owner's number counts as the owner's private
 * group.
 */
export function otherWriters(access: Access, uid: number): string | undefined {
  const mode = (access.mode & 0o777).toString(8);
  if (access.uid !== uid && access.uid !== ROOT_UID) return `user ${access.uid}, who owns it`;
  if ((access.mode & OTHERS_WRITE) !== 0) return `every user of this machine (mode ${mode})`;
  if ((access.mode & GROUP_WRITE) !== 0 && access.gid !== access.uid) return `group ${access.gid} (mode ${mode})`;
  return undefined;
}

/** Warns of a directory that others may write, links followed; empty also where nothing is there or the system has no such owners. */
export function directoryWarnings(path: string): readonly string[] {
  const uid = process.getuid?.();
  const access = uid === undefined ? undefined : statSync(path, { throwIfNoEntry: false });
  const writers = uid === undefined || access === undefined ? undefined : otherWriters(access, uid);
  return writers === undefined ? [] : [`${path} can be written by ${writers}; run: chmod go-w ${path}`];
}

/**
 * Says why `dir` is no safe place for private sockets: not a directory, another user's, or open to others. Undefined when it is safe, or not
 * there. `ownerUid` = the user whose hub it is, by default this process's.
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

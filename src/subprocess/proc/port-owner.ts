/**
 * Tells which users' processes listen on a TCP port of this machine (from /proc): a port of a launched server that
 * another user has taken must not get the server's headers. Processes of the hub's own user and of root are accepted
 * (docs/security.md).
 */
import { readFile } from 'node:fs/promises';

const LISTEN = '0A';
const TABLES = ['tcp', 'tcp6'] as const;
const ROOT_UID = 0;

/** Tells whether a user other than `uid` and root listens on `port`; false without /proc. `root`: path of /proc. */
export async function isPortTaken(port: number, uid: number, root = '/proc'): Promise<boolean> {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  for (const table of TABLES) {
    const text = await readFile(`${root}/net/${table}`, 'utf8').catch(() => '');
    for (const line of text.split('\n').slice(1)) {
      const [, local = '', , state, , , , owner = ''] = line.trim().split(/\s+/);
      const isListener = state === LISTEN && local.endsWith(suffix);
      if (isListener && Number(owner) !== uid && Number(owner) !== ROOT_UID) return true;
    }
  }
  return false;
}

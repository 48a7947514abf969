/**
 * Where things lie on this machine: the data directory and the directory of the private sockets.
 * Promises: node's own modules only (the supervisor uses it); nothing is created or read; the paths of sockets fit into what a unix socket's
 * address can hold, wherever the data directory is.
 */
import { createHash } from 'node:crypto';
import { homedir, tmpdir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import { RELAY_SOCKET, socketName } from '../model/supervisor-messages.ts';

/** A unix socket's address holds 104 bytes on macOS and 108 on Linux, its end mark included. */
const MAX_SOCKET_PATH_BYTES = 100;
/** Longest name in the run directory, and room for two digits. */
const LONGEST_SOCKET = 'control-99.sock';

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The data directory, absolute: `flag` (--data-dir), `MCPHUB_DATA_DIR`, `$XDG_DATA_HOME/mcphub`, else the platform's own place:
 * `~/.local/share/mcphub`, macOS `~/Library/Application Support/mcphub`, Windows `%LOCALAPPDATA%\mcphub`.
 */
export function dataDirFrom(
  env: Environment,
  home: string,
  flag?: string,
  platform: NodeJS.Platform = process.platform,
): string {
  const named = flag || env.MCPHUB_DATA_DIR;
  if (named) return resolve(named);
  // The XDG specification: a relative path is to be ignored.
  if (env.XDG_DATA_HOME && isAbsolute(env.XDG_DATA_HOME)) return join(env.XDG_DATA_HOME, 'mcphub');
  const base = home === '' ? homedir() : home;
  if (platform === 'darwin') return join(base, 'Library', 'Application Support', 'mcphub');
  if (platform === 'win32') return join(env.LOCALAPPDATA || join(base, 'AppData', 'Local'), 'mcphub');
  return join(base, '.local', 'share', 'mcphub');
}

/**
 * The directory of the private sockets (to be made 0700): `<dataDir>/run`, or, when a socket's path in it would be too long, a short one in
 * the system's temporary directory that belongs to this user and data directory.
 */
export function runDirFor(dataDir: string): string {
  const inside = join(dataDir, 'run');
  if (Buffer.byteLength(join(inside, LONGEST_SOCKET)) <= MAX_SOCKET_PATH_BYTES) return inside;
  const digest = createHash('sha256').update(dataDir).digest('hex').slice(0, 8);
  return join(tmpdir(), `mcphub-${process.getuid?.() ?? 0}-${digest}`);
}

/** The private socket of a process. */
export function socketPath(runDir: string, role: 'hub' | 'control', slot: number): string {
  return join(runDir, socketName(role, slot));
}

/** The socket over which snapshots and facts travel. */
export function relaySocketPath(runDir: string): string {
  return join(runDir, RELAY_SOCKET);
}

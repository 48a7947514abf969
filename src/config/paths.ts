/**
 * Determines the data directory and the directory of the private sockets.
 * Guarantees: imports node modules only (the supervisor uses it); creates and reads nothing; socket paths fit into the
 * address of a unix socket for any data directory.
 */
import { createHash } from 'node:crypto';
import { homedir, tmpdir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import { RELAY_SOCKET, socketName } from '../model/supervisor-messages.ts';

/** A unix socket address holds 104 bytes on macOS and 108 on Linux, including the terminator. */
const MAX_SOCKET_PATH_BYTES = 100;
/** Longest name in the run directory, with room for two digits. */
const LONGEST_SOCKET = 'control-99.sock';

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Returns the absolute data directory: `flag` (--data-dir), `MCPHUB_DATA_DIR`, `$XDG_DATA_HOME/mcphub`, or the default
 * of the platform: `~/.local/share/mcphub`, macOS `~/Library/Application Support/mcphub`, Windows
 * `%LOCALAPPDATA%\mcphub`.
 */
export function dataDirFrom(
  env: Environment,
  home: string,
  flag?: string,
  platform: NodeJS.Platform = process.platform,
): string {
  const named = flag || env.MCPHUB_DATA_DIR;
  if (named) return resolve(named);
  // The XDG specification requires that relative paths are ignored.
  if (env.XDG_DATA_HOME && isAbsolute(env.XDG_DATA_HOME)) return join(env.XDG_DATA_HOME, 'mcphub');
  const base = home === '' ? homedir() : home;
  if (platform === 'darwin') return join(base, 'Library', 'Application Support', 'mcphub');
  if (platform === 'win32') return join(env.LOCALAPPDATA || join(base, 'AppData', 'Local'), 'mcphub');
  return join(base, '.local', 'share', 'mcphub');
}

/**
 * Returns the directory of the private sockets (to be created with mode 0700): `<dataDir>/run`, or, when socket paths
 * in it would be too long, a short one in the system's temporary directory for this user and data directory.
 */
export function runDirFor(dataDir: string): string {
  const inside = join(dataDir, 'run');
  if (Buffer.byteLength(join(inside, LONGEST_SOCKET)) <= MAX_SOCKET_PATH_BYTES) return inside;
  const digest = createHash('sha256').update(dataDir).digest('hex').slice(0, 8);
  return join(tmpdir(), `mcphub-${process.getuid?.() ?? 0}-${digest}`);
}

/** Returns the path of a process's private socket. */
export function socketPath(runDir: string, role: 'hub' | 'control', slot: number): string {
  return join(runDir, socketName(role, slot));
}

/** Returns the path of the socket for snapshots and events. */
export function relaySocketPath(runDir: string): string {
  return join(runDir, RELAY_SOCKET);
}

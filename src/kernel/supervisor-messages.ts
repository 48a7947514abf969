/**
 * What the guard and its processes say to each other: the words on the IPC channel, the environment of a forked process, and the
 * private unix sockets. Types and names only.
 * IPC carries accepted connections and readiness; beat and probe travel over each process's own unix socket.
 */

/** Environment of a process that the guard forked. */
export const GUARD_ENV = {
  /** `hub` or `control`. */
  role: 'MCPHUB_PROCESS',
  /** 1…N for hubs, 0 for control. */
  slot: 'MCPHUB_SLOT',
  dataDir: 'MCPHUB_DATA_DIR',
  /** Directory 0700 with the private sockets. */
  runDir: 'MCPHUB_RUN_DIR',
  configFile: 'MCPHUB_CONFIG',
  /** JSON: limits that the command line gives (`--port`, `--hubs`); for control, which reads the configuration. */
  flags: 'MCPHUB_FLAGS',
  /** Mark of this process and its descendants in their environment: `<data directory hash>.<guard pid>.<role>-<slot>.<life>`. */
  mark: 'MCPHUB_MARK',
  /** `1` = it takes the place of a hub that still serves. */
  heir: 'MCPHUB_HEIR',
  /** Name of the socket of a worker that still gives its servers away: the one that had replaced it has died. */
  leaving: 'MCPHUB_LEAVING',
} as const;

/**
 * V8 flags of workers and control. A young generation of 4 MB instead of 16 or more: one collection of it takes 5 to 10 ms and not 30 to 80 while lists of
 * 4 MB change, and a call costs the same CPU time (measured).
 */
export const CONTROL_FLAGS: readonly string[] = ['--max-semi-space-size=4'];
/** And of a hub: a regular expression that goes astray changes its engine instead of holding the loop. */
export const HUB_FLAGS: readonly string[] = [
  ...CONTROL_FLAGS,
  '--enable-experimental-regexp-engine-on-excessive-backtracks',
];

/** Set in the environment of every child of a hub; value = the hub's mark. The guard finds orphans by it. */
export const DESCENDANT_MARK = 'MCPHUB_MARK';

/** Guard → process. With `connection` travels the accepted socket. */
export type GuardWord =
  | { readonly t: 'connection'; readonly n: number }
  /** To control, after `configured`: the port is open, so that a start which cannot work leaves nothing behind. */
  | { readonly t: 'go'; readonly port: number }
  /** To hubs: control is there (again). */
  | { readonly t: 'control-ready' }
  /** To control and workers: what workers show on the workers' socket of the control process. */
  | { readonly t: 'worker-token'; readonly token: string }
  | { readonly t: 'drain' }
  /** To a hub whose heir serves already: it finishes what it has and ends. */
  | { readonly t: 'leave' }
  | { readonly t: 'reload' };

/** Process → guard. */
export type ProcessWord =
  /** From control, before it does anything else: what the configuration says. `lines` are warnings for people. */
  | { readonly t: 'configured'; readonly limits: Readonly<Record<string, number>>; readonly lines: readonly string[] }
  /** Serves; `ms` since it started. */
  | { readonly t: 'ready'; readonly ms: number }
  /** Connection `n` was taken over; the guard may close its copy. */
  | { readonly t: 'taken'; readonly n: number }
  /** Starting is pointless (bad configuration): exit 78 follows; `lines` is for people. */
  | { readonly t: 'hopeless'; readonly lines: readonly string[] }
  /** Something to tell the person at the terminal (first key). */
  | { readonly t: 'tell'; readonly lines: readonly string[] };

/** One line a second on GET /beat of the private socket. */
export interface Beat {
  readonly pid: number;
  readonly rssBytes: number;
  readonly heapBytes: number;
  readonly loopMaxMs: number;
  readonly calls: number;
  readonly connections: number;
  readonly streams: number;
  /** Last facts worth keeping as evidence. */
  readonly last: string;
  /** What it waits for, on one line. */
  readonly waits: string;
}

/** Private sockets in the run directory. */
export function socketName(role: 'hub' | 'control', slot: number): string {
  return role === 'hub' ? `hub-${slot}.sock` : 'control.sock';
}

/** Under these it listens until the names above may lead to it: at once, and an heir's when it serves. */
export function bootSocketNames(pid: number): readonly [front: string, door: string] {
  return [`f-${pid}.sock`, `d-${pid}.sock`];
}

/** Second name of the socket of the worker that process `pid` replaces. */
export function predecessorSocketName(pid: number): string {
  return `p-${pid}.sock`;
}

/** Socket of the stall-watching thread of process `pid`: answers with `<ms since the loop advanced>\n` and closes. */
export function loopSocketName(pid: number): string {
  return `l-${pid}.sock`;
}

/** The front's own socket: siblings pass requests on to it. */
export function frontSocketName(slot: number): string {
  return `front-${slot}.sock`;
}

/** The control process's socket for workers. The operator's one is `socketName('control', 0)`. */
export const WORKERS_SOCKET = 'workers.sock';

export const RELAY_SOCKET = 'relay.sock';
/** Keys travel apart from snapshots. */
export const KEYS_SOCKET = 'keys.sock';

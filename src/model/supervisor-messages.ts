/**
 * The messages between the supervisor and its processes on the IPC channel, the environment of those processes, and the
 * names of their sockets. Types and names only. The values stay as they are: during a replacement of workers, processes
 * of two versions talk to each other. IPC carries accepted connections and readiness; heartbeats and probes use each
 * process's own Unix socket.
 */

/** Environment variables of a process that the supervisor started. */
export const PROCESS_ENV = {
  /** `hub` (a worker) or `control`. */
  role: 'MCPHUB_PROCESS',
  /** 1 to N for workers, 0 for the control process. */
  slot: 'MCPHUB_SLOT',
  dataDir: 'MCPHUB_DATA_DIR',
  /** Directory with mode 0700 for the private sockets. */
  runDir: 'MCPHUB_RUN_DIR',
  configFile: 'MCPHUB_CONFIG',
  /**
   * JSON: limits from the command line (`--port`, `--workers`), for the control process, which reads the configuration.
   */
  flags: 'MCPHUB_FLAGS',
  /**
   * Mark of this process and its descendants: `<hash of the data directory>.<supervisor pid>.<role>-<id>.<instance>`.
   */
  mark: 'MCPHUB_MARK',
  /** `1` = it replaces a worker that still serves. */
  replacement: 'MCPHUB_HEIR',
  /**
   * Socket name of a worker with the same id that still hands over its servers, because the one that replaced it has
   * exited.
   */
  leaving: 'MCPHUB_LEAVING',
} as const;

/**
 * V8 flags of the control process and the workers. With a young generation of 4 MB instead of 16 or more, one
 * collection takes 5 to 10 ms instead of 30 to 80 while lists of 4 MB change. So small a one is collected by one
 * thread: the start of others and the wait for them take longer than the collection (one each 130 calls, 0.5 ms instead
 * of 1.0 to 2.5; measured).
 */
export const CONTROL_FLAGS: readonly string[] = ['--max-semi-space-size=4', '--no-parallel-scavenge'];
/**
 * V8 flags of a worker: in addition, a regular expression with excessive backtracking switches to another engine
 * instead of blocking the loop.
 */
export const WORKER_FLAGS: readonly string[] = [
  ...CONTROL_FLAGS,
  '--enable-experimental-regexp-engine-on-excessive-backtracks',
];

/** Set in the environment of every child of a worker, with the worker's mark. The supervisor finds orphans by it. */
export const DESCENDANT_MARK = 'MCPHUB_MARK';

/** Supervisor to process. `connection` carries the accepted socket. */
export type SupervisorMessage =
  | { readonly t: 'connection'; readonly n: number }
  /** The port is open: the process may begin what leaves traces. A start that fails before leaves none. */
  | {
      readonly t: 'go';
      readonly port: number;
      /** Of the configuration that control has read last; undefined from a supervisor of an older version. */
      readonly limits?: Readonly<Record<string, number>> | undefined;
    }
  /** To workers: the control process is ready (again). */
  | { readonly t: 'control-ready' }
  /** To all: the token that workers present on the workers' socket of the control process. */
  | { readonly t: 'worker-token'; readonly token: string }
  | { readonly t: 'drain' }
  /** To a worker whose replacement is ready: finish what is open, then exit. */
  | { readonly t: 'leave' }
  | { readonly t: 'reload' };

/** Process to supervisor. */
export type ProcessMessage =
  /**
   * From the control process, before it does anything else, and after each reload: the limits of the configuration.
   * `lines` are warnings to print.
   */
  | { readonly t: 'configured'; readonly limits: Readonly<Record<string, number>>; readonly lines: readonly string[] }
  /** It serves, `ms` after its start. */
  | { readonly t: 'ready'; readonly ms: number }
  /** It has taken over connection `n`; the supervisor may close its copy. */
  | { readonly t: 'taken'; readonly n: number }
  /** It cannot start (invalid configuration): exit 78 follows; `lines` say why. */
  | { readonly t: 'hopeless'; readonly lines: readonly string[] }
  /** Lines to print on stdout (the first key). */
  | { readonly t: 'tell'; readonly lines: readonly string[] };

/** One line a second on `GET /beat` of the private socket. */
export interface Heartbeat {
  readonly pid: number;
  readonly rssBytes: number;
  readonly heapBytes: number;
  readonly loopMaxMs: number;
  readonly calls: number;
  readonly connections: number;
  readonly streams: number;
  /** Latest events, for a crash report. */
  readonly last: string;
  /** What it waits for, on one line. */
  readonly waits: string;
}

/** Name of a process's private socket in the run directory. */
export function socketName(role: 'hub' | 'control', slot: number): string {
  return role === 'hub' ? `hub-${slot}.sock` : 'control.sock';
}

/**
 * Names under which a process listens until it takes over the names above: at once, or for a replacement when it is
 * ready.
 */
export function bootSocketNames(pid: number): readonly [front: string, socket: string] {
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

/** Name of a worker's socket for requests that other workers forward to it. */
export function frontSocketName(slot: number): string {
  return `front-${slot}.sock`;
}

/** The control process's socket for workers. `socketName('control', 0)` is the one for the operator. */
export const WORKERS_SOCKET = 'workers.sock';

export const RELAY_SOCKET = 'relay.sock';
/** Keys are sent apart from snapshots. */
export const KEYS_SOCKET = 'keys.sock';

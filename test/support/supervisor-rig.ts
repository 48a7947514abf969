/**
 * A supervisor with fake processes for tests: starts on a free port and a directory of its own, and ends with
 * everything that it started.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { get, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { LimitName } from '../../src/config/limits.ts';
import { socketName } from '../../src/model/supervisor-messages.ts';
import { cleanEnv, environOf, freePort, isAlive, tryKill } from './hub.ts';

export interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: {
    readonly slot: number;
    readonly pid: number;
    readonly beats: number;
    readonly id?: null;
    readonly error?: { readonly code: number; readonly data?: { readonly code: string } };
  };
}

export interface SupervisorRigOptions {
  readonly workers?: number;
  readonly limits?: Partial<Record<LimitName, number>>;
  readonly env?: Readonly<Record<string, string>>;
  /** Of an earlier rig. */
  readonly dataDir?: string;
  readonly port?: number;
}

export interface SupervisorRig extends AsyncDisposable {
  readonly pid: number;
  readonly port: number;
  readonly dataDir: string;
  readonly child: ChildProcess;
  readonly exited: Promise<[number | null, NodeJS.Signals | null]>;
  /** Its output on stdout and stderr so far. */
  log(): string;
  /** Log lines with this event id. */
  events(event: string): Record<string, unknown>[];
  /** Sends a request to the port. */
  ask(path?: string): Promise<Answer>;
  /** Makes a process misbehave, by a request on its private socket. */
  request(role: 'hub' | 'control', slot: number, what: string): Promise<void>;
  /** Heartbeats that a process has sent to the supervisor. */
  heartbeats(role: 'hub' | 'control', slot: number): Promise<number>;
  /** Pids of the processes of this data directory, without the supervisor. */
  processes(): number[];
  crashReports(): Record<string, unknown>[];
}

export async function startSupervisorRig(options: SupervisorRigOptions = {}): Promise<SupervisorRig> {
  const dataDir = options.dataDir ?? mkdtempSync(join(tmpdir(), 'mcphub-supervisor-'));
  const port = options.port ?? (await freePort());
  const given = { dataDir, port, workers: options.workers ?? 1, limits: options.limits ?? {} };
  const child = spawn(process.execPath, [join(import.meta.dirname, 'fake-supervisor.ts'), JSON.stringify(given)], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...cleanEnv(), ...options.env },
  });
  let text = '';
  const collect = (chunk: Buffer) => {
    text += chunk.toString('utf8');
  };
  child.stdout?.on('data', collect);
  child.stderr?.on('data', collect);
  const exited = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>;
  const askProcess = (role: 'hub' | 'control', slot: number, path: string) =>
    answerOf({ socketPath: join(dataDir, 'run', socketName(role, slot)), path, agent: false });
  const processes = () => marked(dataDir, child.pid ?? -1);
  return {
    pid: child.pid ?? -1,
    port,
    dataDir,
    child,
    exited,
    log: () => text,
    events: (event) => linesOf(text).filter((line) => line.event === event),
    ask: (path = '/') => answerOf({ port, host: '127.0.0.1', path, agent: false }),
    request: async (role, slot, what) => void (await askProcess(role, slot, `/do/${what}`)),
    heartbeats: async (role, slot) => (await askProcess(role, slot, '/beats')).body.beats,
    processes,
    crashReports: () => readReports(join(dataDir, 'evidence')),
    async [Symbol.asyncDispose]() {
      tryKill(child.pid ?? -1);
      await exited;
      for (const pid of processes()) tryKill(pid);
      if (options.dataDir === undefined) rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

/** Rejects when the connection breaks or no response arrives for 25 s. */
export function answerOf(options: object): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = get({ ...options, timeout: 25_000 }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('error', reject);
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: JSON.parse(text) }),
      );
    });
    request.on('timeout', () => request.destroy(new Error('no response')));
    request.on('error', reject);
  });
}

function linesOf(text: string): Record<string, unknown>[] {
  return text
    .split('\n')
    .filter((line) => line.startsWith('{') && line.endsWith('}'))
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

function marked(dataDir: string, supervisorPid: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => pid !== supervisorPid && pid !== process.pid && isAlive(pid))
    .filter((pid) => environOf(pid).MCPHUB_DATA_DIR === dataDir);
}

function readReports(dir: string): Record<string, unknown>[] {
  try {
    return readdirSync(dir)
      .sort()
      .map((name) => JSON.parse(readFileSync(join(dir, name), 'utf8')) as Record<string, unknown>);
  } catch {
    return [];
  }
}

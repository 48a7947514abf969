/**
 * A guard over fake parts for tests: started on a free port and a directory of its own, ended with everything it started.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { get, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { LimitName } from '../../src/config/limits.ts';
import { socketName } from '../../src/kernel/supervisor-messages.ts';
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

export interface GuardRigOptions {
  readonly hubs?: number;
  readonly limits?: Partial<Record<LimitName, number>>;
  readonly env?: Readonly<Record<string, string>>;
  /** Of an earlier rig. */
  readonly dataDir?: string;
  readonly port?: number;
}

export interface GuardRig extends AsyncDisposable {
  readonly pid: number;
  readonly port: number;
  readonly dataDir: string;
  readonly child: ChildProcess;
  readonly exited: Promise<[number | null, NodeJS.Signals | null]>;
  /** What it has printed on both outputs. */
  log(): string;
  /** The log's lines of an event. */
  events(event: string): Record<string, unknown>[];
  /** Asks through the port. */
  ask(path?: string): Promise<Answer>;
  /** A misdeed of a part, asked for on its private socket. */
  bid(role: 'hub' | 'control', slot: number, what: string): Promise<void>;
  /** Beats that a part has sent to the guard. */
  beats(role: 'hub' | 'control', slot: number): Promise<number>;
  /** Pids of processes that carry this data directory, without the guard. */
  parts(): number[];
  evidence(): Record<string, unknown>[];
}

export async function guardRig(options: GuardRigOptions = {}): Promise<GuardRig> {
  const dataDir = options.dataDir ?? mkdtempSync(join(tmpdir(), 'mcphub-guard-'));
  const port = options.port ?? (await freePort());
  const given = { dataDir, port, hubs: options.hubs ?? 1, limits: options.limits ?? {} };
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
  const askPart = (role: 'hub' | 'control', slot: number, path: string) =>
    answerOf({ socketPath: join(dataDir, 'run', socketName(role, slot)), path, agent: false });
  const parts = () => marked(dataDir, child.pid ?? -1);
  return {
    pid: child.pid ?? -1,
    port,
    dataDir,
    child,
    exited,
    log: () => text,
    events: (event) => linesOf(text).filter((line) => line.event === event),
    ask: (path = '/') => answerOf({ port, host: '127.0.0.1', path, agent: false }),
    bid: async (role, slot, what) => void (await askPart(role, slot, `/do/${what}`)),
    beats: async (role, slot) => (await askPart(role, slot, '/beats')).body.beats,
    parts,
    evidence: () => evidenceIn(join(dataDir, 'evidence')),
    async [Symbol.asyncDispose]() {
      tryKill(child.pid ?? -1);
      await exited;
      for (const pid of parts()) tryKill(pid);
      if (options.dataDir === undefined) rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

/** Rejects when the connection breaks or nothing comes for 25 s. */
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
    request.on('timeout', () => request.destroy(new Error('nothing came')));
    request.on('error', reject);
  });
}

function linesOf(text: string): Record<string, unknown>[] {
  return text
    .split('\n')
    .filter((line) => line.startsWith('{') && line.endsWith('}'))
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

function marked(dataDir: string, guardPid: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => pid !== guardPid && pid !== process.pid && isAlive(pid))
    .filter((pid) => environOf(pid).MCPHUB_DATA_DIR === dataDir);
}

function evidenceIn(dir: string): Record<string, unknown>[] {
  try {
    return readdirSync(dir)
      .sort()
      .map((name) => JSON.parse(readFileSync(join(dir, name), 'utf8')) as Record<string, unknown>);
  } catch {
    return [];
  }
}

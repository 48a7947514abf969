/**
 * Starts `telemetry-child.ts` with a chosen stdout and listens to it.
 * Promises: the child is gone when the test ends; `word` and `exit` are bounded.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { ChildOrder, ChildWord } from './telemetry-child.ts';

const CHILD = new URL('./telemetry-child.ts', import.meta.url).pathname;
const PATIENCE_MS = 9000;

/** Holds the master end of a terminal, never reads it, and ends as its child ends. */
const DEAF_TERMINAL = `
import os, pty, subprocess, sys
master, slave = pty.openpty()
child = subprocess.Popen(sys.argv[1:], stdout=slave, close_fds=False)
os.close(slave)
sys.exit(child.wait() & 0xff)
`;

export interface TelemetryChild {
  readonly process: ChildProcess;
  /** Of the Node process, also when a terminal stands between. */
  readonly pid: number;
  readonly rssBytes: number;
  order(order: ChildOrder): void;
  /** The next word of this kind. */
  word<T extends ChildWord['t']>(t: T): Promise<Extract<ChildWord, { t: T }>>;
  /** Sends SIGTERM; how long the end took, and how it ended. */
  terminate(): Promise<{ readonly ms: number; readonly code: number | null; readonly signal: string | null }>;
}

export interface RigOptions {
  /** A descriptor, `pipe` (Node makes it a unix socket), or a terminal that nobody reads. */
  readonly stdout: number | 'pipe' | 'deaf-terminal';
  readonly env?: Readonly<Record<string, string>>;
}

/** A directory that the test's end removes. */
export function tempDir(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'mcphub-telemetry-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

export async function startChild(t: TestContext, { stdout, env }: RigOptions): Promise<TelemetryChild> {
  const command =
    stdout === 'deaf-terminal' ? ['python3', '-c', DEAF_TERMINAL, process.execPath, CHILD] : [process.execPath, CHILD];
  const child = spawn(command[0] as string, command.slice(1), {
    stdio: ['ignore', stdout === 'deaf-terminal' ? 'ignore' : stdout, 'inherit', 'ipc'],
    env: { ...process.env, LOG_LEVEL: 'debug', CI: '', ...env },
  });
  let pid = child.pid ?? 0;
  t.after(() => {
    for (const one of new Set([pid, child.pid ?? 0])) kill(one);
  });

  async function word<T extends ChildWord['t']>(want: T): Promise<Extract<ChildWord, { t: T }>> {
    const signal = AbortSignal.timeout(PATIENCE_MS);
    for (;;) {
      const [said] = (await once(child, 'message', { signal })) as [ChildWord];
      if (said.t === want) return said as Extract<ChildWord, { t: T }>;
    }
  }

  const ready = await word('ready');
  pid = ready.pid;
  return {
    process: child,
    pid,
    rssBytes: ready.rssBytes,
    order: (order) => void child.send(order),
    word,
    async terminate() {
      const startMs = performance.now();
      const ended = once(child, 'exit', { signal: AbortSignal.timeout(PATIENCE_MS) });
      process.kill(pid, 'SIGTERM');
      const [code, signal] = (await ended) as [number | null, string | null];
      return { ms: performance.now() - startMs, code, signal };
    },
  };
}

function kill(pid: number): void {
  try {
    if (pid > 0) process.kill(pid, 'SIGKILL');
  } catch {
    // Gone already.
  }
}

/**
 * The `mcphub` command as a person runs it: arguments in, exit code and both streams out. And any other program with an
 * end.
 * Promises: every run ends by its timeout (the pid that was started is killed), so that a hanging command is a failed
 * test.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { CLI, cleanEnv, ROOT } from './hub.ts';

export interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly ms: number;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly timeoutMs?: number;
  readonly stdin?: string;
}

/** `mcphub <args>`. */
export function mcphub(args: readonly string[], options: RunOptions = {}): Promise<Ran> {
  return run(process.execPath, [CLI, ...args], options);
}

export async function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<Ran> {
  const born = performance.now();
  const child = spawn(command, args, {
    cwd: options.cwd ?? ROOT,
    stdio: [options.stdin === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    env: { ...cleanEnv(), NO_COLOR: '1', ...options.env },
  });
  child.stdin?.end(options.stdin);
  const stdout = textOf(child.stdout);
  const stderr = textOf(child.stderr);
  const timer = setTimeout(() => child.kill('SIGKILL'), options.timeoutMs ?? 30_000);
  const code = await closed(child);
  clearTimeout(timer);
  return { code, stdout: stdout(), stderr: stderr(), ms: performance.now() - born };
}

function closed(child: ChildProcess): Promise<number | null> {
  return new Promise((done, fail) => {
    child.once('error', fail);
    child.once('close', (code) => done(code));
  });
}

function textOf(stream: NodeJS.ReadableStream | null): () => string {
  const chunks: Buffer[] = [];
  stream?.on('data', (chunk: Buffer) => chunks.push(chunk));
  return () => Buffer.concat(chunks).toString('utf8');
}

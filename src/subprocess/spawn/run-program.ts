/**
 * Runs a program to its end and keeps its output: the login shell, package runners that install, a test of the wrapper.
 * The caller interprets the exit code.
 * Guarantees: ends by the deadline, with its whole process group killed; keeps at most 64 KiB of stdout and the tail of
 * everything.
 */
import { limitsFrom } from '../../config/limits.ts';
import type { Deadline } from '../../runtime/deadline.ts';
import { StderrBuffer, type StderrLimits } from '../io/stderr-buffer.ts';
import { type GroupPlan, killGroup, spawnGroup, untilDrained } from './group.ts';

export interface ProgramEnd {
  readonly code: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  /** Last lines of stdout and stderr, oldest first. */
  readonly tail: readonly string[];
}

const STDOUT_BYTES = 64 * 1024;
const SAID: StderrLimits = { ...limitsFrom({}), stderrTailBytes: 16 * 1024 };

/** Runs it. Throws HubError `upstream-spawn` when it cannot be started, `wait-expired` at the deadline. */
export async function runProgram(
  plan: Omit<GroupPlan, 'stdin'>,
  said: (line: string) => void,
  deadline: Deadline,
): Promise<ProgramEnd> {
  const { runtime, label, owner } = plan;
  const child = await spawnGroup({ ...plan, stdin: 'ignore' }, deadline);
  const lines = new StderrBuffer(runtime, SAID, { said, alive: () => {} });
  const kept: Buffer[] = []; // bounded by: STDOUT_BYTES
  let keptBytes = 0;
  child.stdout?.on('data', (chunk: Buffer) => {
    if (keptBytes < STDOUT_BYTES) kept.push(chunk);
    keptBytes += chunk.length;
  });
  for (const stream of [child.stdout, child.stderr]) if (stream) lines.drain(stream);
  const ended = new Promise<{ code: number | null; signal: string | null }>((resolve) => {
    child.once('exit', (code, signal) => {
      killGroup(child.pid, 'SIGKILL');
      void untilDrained(child, runtime).then(() => resolve({ code, signal }));
    });
  });
  try {
    const exit = await runtime.waits.for(ended, { label, owner, deadline });
    return { ...exit, stdout: Buffer.concat(kept).toString('utf8'), tail: lines.lines() };
  } finally {
    if (child.exitCode === null && child.signalCode === null) killGroup(child.pid, 'SIGKILL');
    lines.close();
    child.stdout?.destroy();
    child.stderr?.destroy();
  }
}

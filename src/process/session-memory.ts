/** The memory of open sessions of one worker: in the directory `sessions` of the data directory. */
import { join } from 'node:path';
import type { Limits } from '../config/limits.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { SessionMemory } from '../upstream/session-memory.ts';

/** Files for each configured server: workers, and those that were killed. */
const FILES = 4;

/** `dir` = the data directory. */
export function sessionMemory(about: {
  readonly kernel: Kernel;
  readonly limits: Limits;
  readonly dir: string;
  readonly slot: number;
}): SessionMemory {
  const { kernel, limits, dir, slot } = about;
  return new SessionMemory({
    ...{ kernel, dir: join(dir, 'sessions'), slot },
    max: () => limits.servers * FILES,
    pid: process.pid,
    isRunning,
  });
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (fault) {
    return fault instanceof Error && 'code' in fault && fault.code === 'EPERM';
  }
}

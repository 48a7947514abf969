/** The memory of open sessions of one worker: in the directory `sessions` of the data directory. */
import { join } from 'node:path';
import type { Limits } from '../config/limits.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { isAlive, readProcessStat } from '../kernel/process-stat.ts';
import { SessionMemory } from '../upstream/session-memory.ts';

/** Files for each configured server and worker: open sessions, and those of killed workers. */
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
    max: () => limits.servers * limits.hubs * FILES,
    self: { pid: process.pid, startTicks: readProcessStat(process.pid)?.startTicks ?? '' },
    isRunning: ({ pid, startTicks }) => isAlive(pid, startTicks),
  });
}

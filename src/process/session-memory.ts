/** Stores the open sessions of one worker in the directory `sessions` of the data directory. */
import { join } from 'node:path';
import type { Limits } from '../config/limits.ts';
import { isAlive, readProcessStat } from '../runtime/process-stat.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { SessionMemory } from '../upstream/single-session/session-memory.ts';

/** Files per configured server and worker: open sessions, and those of killed workers. */
const FILES = 4;

/** Returns the store. `dir` is the data directory. */
export function sessionMemory(about: {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly dir: string;
  readonly slot: number;
}): SessionMemory {
  const { runtime, limits, dir, slot } = about;
  return new SessionMemory({
    runtime,
    dir: join(dir, 'sessions'),
    slot,
    max: () => limits.servers * limits.workers * FILES,
    self: { pid: process.pid, startTicks: readProcessStat(process.pid)?.startTicks ?? '' },
    isRunning: ({ pid, startTicks }) => isAlive(pid, startTicks),
  });
}

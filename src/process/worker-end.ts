/**
 * How a worker process ends: the last steps after its drain, and the end after a fault that nothing has caught.
 * Guarantees: each step has a deadline, and none fails the next.
 */
import type { SnapshotFile } from '../relay/snapshot-file.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { Service } from '../runtime/service.ts';
import { sweepMarked } from '../subprocess/terminate/sweep.ts';

const LAST_STEPS_MS = 3000;
const LAST_LINES_MS = 300;

export interface WorkerEnd {
  readonly runtime: Runtime;
  readonly file: SnapshotFile;
  readonly telemetry: Pick<Service, 'stop'>;
  /** Stands in the environment of the descendants. */
  readonly mark: string;
}

/** The last steps: orphaned processes, pending writes to disk, the last lines of the log. */
export async function endWorker({ runtime, file, telemetry, mark }: WorkerEnd, code: number): Promise<never> {
  const deadline = runtime.deadline(LAST_STEPS_MS);
  const pids = await sweepMarked(mark, deadline).catch(() => []);
  if (pids.length > 0) runtime.bus.publish({ type: 'children-swept', pids });
  await file.flush(deadline).catch(() => {});
  await telemetry.stop(deadline).catch(() => {});
  process.exit(code);
}

/** Reports faults that nothing has caught. An uncaught exception also ends the process. */
export function reportUncaught({ runtime, telemetry }: Pick<WorkerEnd, 'runtime' | 'telemetry'>): void {
  process.on('unhandledRejection', (fault) => runtime.bus.publish({ type: 'task-faulted', task: 'unhandled', fault }));
  process.on('uncaughtException', (fault) => {
    runtime.bus.publish({ type: 'task-faulted', task: 'uncaught', fault });
    // The state of the process is unknown now: it reports the fault and exits; the supervisor starts the next instance
    // at once.
    void telemetry
      .stop(runtime.deadline(LAST_LINES_MS))
      .catch(() => {})
      .then(() => process.exit(1));
  });
}

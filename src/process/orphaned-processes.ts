/**
 * Ends the remaining processes when the supervisor has died and nobody else would: those that still run end those that
 * hang. When all hang, the next start cleans up.
 * Guarantees: the others get `GRACE_MS` to end by themselves, then they are killed, also stopped or stalled ones; takes
 * at most `GRACE_MS` plus `SWEEP_MS`; processes of a new supervisor are not touched, because the mark contains the
 * supervisor's pid; never rejects.
 */
import type { Runtime } from '../runtime/runtime.ts';
import { livingMarked, sweepMarked } from '../runtime/sweep.ts';

const GRACE_MS = 2000;
const SWEEP_MS = 3000;
const LOOK_MS = 100;

export interface OrphanedProcesses {
  readonly runtime: Runtime;
  /** Mark of this process. */
  readonly mark: string | undefined;
}

/**
 * For the control process, which ends last: ends all processes of the dead supervisor, workers and what they started.
 */
export async function endAllOrphans({ runtime, mark }: OrphanedProcesses): Promise<void> {
  const prefix = guardsPart(mark);
  if (prefix === undefined) return;
  await endLeft(runtime, prefix, async () => (await livingMarked(prefix)).length === 0);
}

/** For a worker: ends the control process if it keeps the relay open. `isGone` returns true when it does not. */
export async function endOrphanedControl({ runtime, mark }: OrphanedProcesses, isGone: () => boolean): Promise<void> {
  const prefix = guardsPart(mark);
  if (prefix !== undefined) await endLeft(runtime, `${prefix}control-0.`, async () => isGone());
}

async function endLeft(runtime: Runtime, prefix: string, isOver: () => Promise<boolean>): Promise<void> {
  using deadline = runtime.deadline(GRACE_MS + SWEEP_MS);
  const untilMs = runtime.clock.nowMs() + GRACE_MS;
  const work = async (): Promise<void> => {
    while (runtime.clock.nowMs() < untilMs) {
      if (await isOver()) return;
      await new Promise<void>((resolve) => runtime.timers.after(LOOK_MS, () => resolve()));
    }
    const pids = await sweepMarked(prefix);
    if (pids.length > 0) runtime.bus.publish({ type: 'children-swept', pids });
  };
  try {
    await runtime.waits.for(work(), { label: 'service-stop', owner: 'left behind', deadline });
  } catch {
    // The environment of another user's process cannot be read; the next start tries again.
  }
}

/** Returns `<data directory hash>.<supervisor pid>.` of a mark, or undefined for a process without a supervisor. */
function guardsPart(mark: string | undefined): string | undefined {
  return /^[0-9a-f]{12}\.\d+\./.exec(mark ?? '')?.[0];
}

/**
 * When the supervisor is dead nobody kills or sweeps any more: whoever of its processes can still act ends those that cannot.
 * Promises: the others get `GRACE_MS` to end by themselves; what is left then is killed, stopped and stalled ones too; over within `GRACE_MS`
 * and `SWEEP_MS`; processes of a supervisor that took over meanwhile are not touched, for the mark holds the supervisor's pid; never rejects.
 * Does not: help when all of them are stuck; the next start sweeps.
 */
import type { Runtime } from '../runtime/runtime.ts';
import { livingMarked, sweepMarked } from '../runtime/sweep.ts';

const GRACE_MS = 2000;
const SWEEP_MS = 3000;
const LOOK_MS = 100;

export interface OrphanedProcesses {
  readonly runtime: Runtime;
  /** Of this process. */
  readonly mark: string | undefined;
}

/** For control, the last to go: everything of the dead supervisor, hubs and what they started. */
export async function endAllOrphans({ runtime, mark }: OrphanedProcesses): Promise<void> {
  const prefix = guardsPart(mark);
  if (prefix === undefined) return;
  await endLeft(runtime, prefix, async () => (await livingMarked(prefix)).length === 0);
}

/** For a hub: control, if it does not let go of the relay. `isGone` = it has. */
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
    // Another process's environment cannot be read: the next start tries again.
  }
}

/** `<data directory hash>.<supervisor pid>.` of a mark, or undefined for a process without a supervisor. */
function guardsPart(mark: string | undefined): string | undefined {
  return /^[0-9a-f]{12}\.\d+\./.exec(mark ?? '')?.[0];
}

/**
 * When the supervisor is dead nobody kills or sweeps any more: whoever of its processes can still act ends those that cannot.
 * Promises: the others get `GRACE_MS` to end by themselves; what is left then is killed, stopped and stalled ones too; over within `GRACE_MS`
 * and `SWEEP_MS`; processes of a supervisor that took over meanwhile are not touched, for the mark holds the supervisor's pid; never rejects.
 * Does not: help when all of them are stuck; the next start sweeps.
 */
import type { Kernel } from '../kernel/kernel.ts';
import { livingMarked, sweepMarked } from '../kernel/sweep.ts';

const GRACE_MS = 2000;
const SWEEP_MS = 3000;
const LOOK_MS = 100;

export interface LeftBehind {
  readonly kernel: Kernel;
  /** Of this process. */
  readonly mark: string | undefined;
}

/** For control, the last to go: everything of the dead supervisor, hubs and what they started. */
export async function endAllLeft({ kernel, mark }: LeftBehind): Promise<void> {
  const prefix = guardsPart(mark);
  if (prefix === undefined) return;
  await endLeft(kernel, prefix, async () => (await livingMarked(prefix)).length === 0);
}

/** For a hub: control, if it does not let go of the relay. `isGone` = it has. */
export async function endControlLeft({ kernel, mark }: LeftBehind, isGone: () => boolean): Promise<void> {
  const prefix = guardsPart(mark);
  if (prefix !== undefined) await endLeft(kernel, `${prefix}control-0.`, async () => isGone());
}

async function endLeft(kernel: Kernel, prefix: string, isOver: () => Promise<boolean>): Promise<void> {
  using deadline = kernel.deadline(GRACE_MS + SWEEP_MS);
  const untilMs = kernel.clock.nowMs() + GRACE_MS;
  const work = async (): Promise<void> => {
    while (kernel.clock.nowMs() < untilMs) {
      if (await isOver()) return;
      await new Promise<void>((resolve) => kernel.timers.after(LOOK_MS, () => resolve()));
    }
    const pids = await sweepMarked(prefix);
    if (pids.length > 0) kernel.bus.publish({ type: 'children-swept', pids });
  };
  try {
    await kernel.waits.for(work(), { label: 'service-stop', owner: 'left behind', deadline });
  } catch {
    // Another process's environment cannot be read: the next start tries again.
  }
}

/** `<data directory hash>.<supervisor pid>.` of a mark, or undefined for a process without a supervisor. */
function guardsPart(mark: string | undefined): string | undefined {
  return /^[0-9a-f]{12}\.\d+\./.exec(mark ?? '')?.[0];
}

/**
 * What is known of sessions beyond their statements (ended, or what they want to hear): from the hub where it came up to the disk and to every
 * hub.
 * Promises: a hub hears its own back once it is on the disk (until then it keeps telling it); while the store fails the other hubs hear it
 * all the same, and keeping is tried again; an end is never undone by an older or a later wish; none is kept longer than a session can live.
 */
import type { Limits } from '../config/limits.ts';
import { CappedMap } from '../kernel/capped.ts';
import type { Deadline } from '../kernel/deadline.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { addSessionMarks, dropSessionMarks, listSessionMarks, type SessionMark } from '../store/session-marks.ts';
import type { Store } from '../store/store.ts';

const GATHER_MS = 50;
const AGAIN_MS = 2000;
const KEEP_MS = 5000;
const SWEEP_EVERY_MS = 60 * 60_000;
/** Rows of one transaction; about 10 ms. */
const AT_ONCE = 2000;

export interface SessionMarks {
  start(deadline: Deadline): Promise<void>;
  add(mark: SessionMark): void;
  /** For a hub that has just come. */
  all(): readonly SessionMark[];
  stop(): void;
}

export function createSessionMarks(parts: {
  readonly kernel: Kernel;
  readonly limits: Limits;
  readonly store: Store;
  readonly tell: (marks: readonly SessionMark[]) => void;
}): SessionMarks {
  const { kernel, limits, store, tell } = parts;
  const { ceilings } = kernel;
  const kept = new CappedMap<string, SessionMark>('control.session-marks', limits.tombstones, 'drop-oldest', ceilings);
  const waiting = new CappedMap<string, SessionMark>('control.unkept', limits.tombstones, 'drop-oldest', ceilings);
  let timer: Disposable | undefined;
  let sweep: Disposable | undefined;
  let isKeeping = false;

  function schedule(ms: number): void {
    timer ??= kernel.timers.after(ms, () => {
      timer = undefined;
      if (!isKeeping) kernel.scope.run('keep session marks', keep);
    });
  }

  async function keep(): Promise<void> {
    isKeeping = true;
    const batch = [...waiting.values()].slice(0, AT_ONCE);
    using deadline = kernel.deadline(KEEP_MS);
    let restMs = GATHER_MS;
    try {
      await addSessionMarks(store, batch, deadline);
      for (const mark of batch) {
        // A newer one may have come meanwhile.
        if (waiting.get(mark.id) === mark) waiting.delete(mark.id);
        kept.set(mark.id, mark);
      }
    } catch (fault) {
      restMs = AGAIN_MS;
      kernel.bus.publish({ type: 'task-faulted', task: 'keep session marks', fault });
    } finally {
      isKeeping = false;
    }
    tell(batch);
    if (waiting.size > 0) schedule(restMs);
  }

  function forgetOld(): void {
    const beforeMs = kernel.clock.wallMs() - limits.sessionMs;
    for (const [id, { atMs }] of [...kept.entries()]) if (atMs < beforeMs) kept.delete(id);
    kernel.scope.run('drop session marks', async () => {
      using deadline = kernel.deadline(KEEP_MS);
      await dropSessionMarks(store, beforeMs, deadline);
    });
  }

  return {
    async start(deadline) {
      const sinceMs = kernel.clock.wallMs() - limits.sessionMs;
      const rows = await listSessionMarks(store, { sinceMs, max: limits.tombstones }, deadline);
      for (const mark of rows.reverse()) kept.set(mark.id, mark);
      sweep = kernel.timers.every(SWEEP_EVERY_MS, forgetOld, 0.1);
    },
    add(mark) {
      const known = waiting.get(mark.id) ?? kept.get(mark.id);
      if (known && outranks(known, mark)) return tell([kept.get(mark.id) ?? known]);
      waiting.set(mark.id, mark);
      schedule(GATHER_MS);
    },
    all: () => [...kept.values()],
    stop() {
      timer?.[Symbol.dispose]();
      sweep?.[Symbol.dispose]();
    },
  };
}

/** Whether what is known makes what came needless. */
function outranks(known: SessionMark, came: SessionMark): boolean {
  if (known.wishes === undefined) return true;
  return came.wishes !== undefined && known.atMs >= came.atMs;
}

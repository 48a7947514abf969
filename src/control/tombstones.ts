/**
 * Ids of ended sessions: from the hub where the client ended them to the disk and to every hub.
 * Promises: a hub hears its own back once they are on the disk (until then it keeps telling them); while the store fails the other hubs
 * hear them all the same, and keeping is tried again; none is kept longer than a session can live.
 */
import type { Limits } from '../config/limits.ts';
import { CappedMap } from '../kernel/capped.ts';
import type { Deadline } from '../kernel/deadline.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { Store } from '../store/store.ts';
import { addTombstones, dropTombstones, listTombstones, type Tombstone } from '../store/tombstones.ts';

const GATHER_MS = 50;
const AGAIN_MS = 2000;
const KEEP_MS = 5000;
const SWEEP_EVERY_MS = 60 * 60_000;
/** Rows of one transaction; about 10 ms. */
const AT_ONCE = 2000;

export interface Tombstones {
  start(deadline: Deadline): Promise<void>;
  add(tombstone: Tombstone): void;
  /** For a hub that has just come. */
  all(): readonly Tombstone[];
  stop(): void;
}

export function createTombstones(parts: {
  readonly kernel: Kernel;
  readonly limits: Limits;
  readonly store: Store;
  readonly tell: (tombstones: readonly Tombstone[]) => void;
}): Tombstones {
  const { kernel, limits, store, tell } = parts;
  const kept = new CappedMap<string, number>('control.tombstones', limits.tombstones, 'drop-oldest', kernel.ceilings);
  const waiting = new CappedMap<string, number>('control.ended', limits.tombstones, 'drop-oldest', kernel.ceilings);
  let timer: Disposable | undefined;
  let sweep: Disposable | undefined;
  let isKeeping = false;

  function schedule(ms: number): void {
    timer ??= kernel.timers.after(ms, () => {
      timer = undefined;
      if (!isKeeping) kernel.scope.run('keep tombstones', keep);
    });
  }

  async function keep(): Promise<void> {
    isKeeping = true;
    const batch = [...waiting.entries()].slice(0, AT_ONCE).map(([id, atMs]) => ({ id, atMs }));
    using deadline = kernel.deadline(KEEP_MS);
    let restMs = GATHER_MS;
    try {
      await addTombstones(store, batch, deadline);
      for (const { id, atMs } of batch) {
        waiting.delete(id);
        kept.set(id, atMs);
      }
    } catch (fault) {
      restMs = AGAIN_MS;
      kernel.bus.publish({ type: 'task-faulted', task: 'keep tombstones', fault });
    } finally {
      isKeeping = false;
    }
    tell(batch);
    if (waiting.size > 0) schedule(restMs);
  }

  function forgetOld(): void {
    const beforeMs = kernel.clock.wallMs() - limits.sessionMs;
    for (const [id, atMs] of [...kept.entries()]) if (atMs < beforeMs) kept.delete(id);
    kernel.scope.run('drop tombstones', async () => {
      using deadline = kernel.deadline(KEEP_MS);
      await dropTombstones(store, beforeMs, deadline);
    });
  }

  return {
    async start(deadline) {
      const sinceMs = kernel.clock.wallMs() - limits.sessionMs;
      const rows = await listTombstones(store, { sinceMs, max: limits.tombstones }, deadline);
      for (const { id, atMs } of rows.reverse()) kept.set(id, atMs);
      sweep = kernel.timers.every(SWEEP_EVERY_MS, forgetOld, 0.1);
    },
    add({ id, atMs }) {
      if (kept.has(id)) return tell([{ id, atMs }]);
      waiting.set(id, atMs);
      schedule(GATHER_MS);
    },
    all: () => [...kept.entries()].map(([id, atMs]) => ({ id, atMs })),
    stop() {
      timer?.[Symbol.dispose]();
      sweep?.[Symbol.dispose]();
    },
  };
}

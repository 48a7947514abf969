/**
 * Builds the catalog of a worker from its newest snapshot.
 * Guarantees: changes of lists only are built over several turns of the event loop, and take effect when complete;
 * changes that arrive meanwhile are built together afterwards; `now` builds at once and replaces a build in progress.
 */
import type { Catalog } from '../catalog/catalog.ts';
import type { Snapshot } from '../model/snapshot.ts';
import type { Deadline } from '../runtime/deadline.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { inTurns } from '../runtime/take-turn.ts';
import type { OwnLists } from './own-lists.ts';

export interface CatalogBuild {
  now(): void;
  soon(): void;
  /** Works like `soon`; settles when the catalog is built. Rejects with `wait-expired` at the deadline. */
  done(deadline: Deadline): Promise<void>;
}

export function createCatalogBuild(parts: {
  readonly runtime: Runtime;
  readonly own: OwnLists;
  readonly catalog: Catalog;
  readonly built: (snapshot: Snapshot) => void;
}): CatalogBuild {
  const { runtime, own, catalog, built } = parts;
  /** Number of changes so far, and of those that the catalog contains. */
  let asked = 0;
  let has = 0;
  let running: Promise<void> | undefined;

  function now(): void {
    asked += 1;
    const snapshot = own.snapshot();
    catalog.rebuild(snapshot);
    has = asked;
    built(snapshot);
  }

  async function work(): Promise<void> {
    try {
      while (has < asked) {
        const [wanted, before] = [asked, has];
        const isOver = (): boolean => has !== before;
        const snapshot = await inTurns(own.snapshotSteps(), runtime, { owner: 'catalog', isOver });
        if (!snapshot) continue;
        const swap = await inTurns(catalog.rebuildSteps(snapshot), runtime, { owner: 'catalog', isOver });
        if (!swap) continue;
        swap();
        has = wanted;
        built(snapshot);
      }
    } finally {
      running = undefined;
    }
  }

  function soon(): Promise<void> {
    asked += 1;
    if (!running) {
      const done = Promise.withResolvers<void>();
      running = done.promise;
      runtime.scope.run('build the catalog', () => work().finally(done.resolve));
    }
    return running;
  }

  return {
    now,
    soon: () => void soon(),
    async done(deadline) {
      await runtime.waits.for(soon(), { label: 'background', owner: 'catalog', deadline });
    },
  };
}

/** Returns true when only lists and names have changed. */
export function isSameShape(before: Snapshot, now: Snapshot): boolean {
  const shape = ({ servers, groups }: Snapshot): string => JSON.stringify([servers, groups]);
  return before.revision > 0 && shape(before) === shape(now);
}

/**
 * Builds the catalog of a worker from its newest world.
 * Guarantees: what changes only lists is built over several turns of the event loop, and counts when it is whole; changes that come meanwhile are built
 * together after it; `now` is built at once and replaces what is being built.
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
  /** As `soon`; settles when it is built. Rejects with `wait-expired` at the deadline. */
  done(deadline: Deadline): Promise<void>;
}

export function createCatalogBuild(parts: {
  readonly runtime: Runtime;
  readonly own: OwnLists;
  readonly catalog: Catalog;
  readonly built: (world: Snapshot) => void;
}): CatalogBuild {
  const { runtime, own, catalog, built } = parts;
  /** Changes until now, and those that the catalog has. */
  let asked = 0;
  let has = 0;
  let running: Promise<void> | undefined;

  function now(): void {
    asked += 1;
    const world = own.world();
    catalog.rebuild(world);
    has = asked;
    built(world);
  }

  async function work(): Promise<void> {
    try {
      while (has < asked) {
        const [wanted, before] = [asked, has];
        const isOver = (): boolean => has !== before;
        const world = await inTurns(own.worldSteps(), runtime, { owner: 'catalog', isOver });
        if (!world) continue;
        const swap = await inTurns(catalog.rebuildSteps(world), runtime, { owner: 'catalog', isOver });
        if (!swap) continue;
        swap();
        has = wanted;
        built(world);
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

/** Nothing that a view is made of has changed, but for lists and names. */
export function isSameShape(before: Snapshot, now: Snapshot): boolean {
  const shape = ({ servers, groups }: Snapshot): string => JSON.stringify([servers, groups]);
  return before.revision > 0 && shape(before) === shape(now);
}

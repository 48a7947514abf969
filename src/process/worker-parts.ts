/**
 * Composes the modules of one worker in start order, without a process around them. Does not import store, control or
 * admin.
 * Guarantees: nothing runs before `start`; `stop` drains and ends everything within its time limits; tests can use a
 * worker with `await using`.
 */
import type { Admission } from '../admission/gate.ts';
import type { Listing, Snapshot, SnapshotHolder } from '../model/snapshot.ts';
import type { KeysFrame } from '../relay/keys-messages.ts';
import type { Sessions } from '../session/sessions.ts';
import type { ServerRegistry } from '../upstream/registry.ts';
import type { AccessWatch } from './access-watch.ts';
import { Balancers } from './balancers.ts';
import { createCatalogBuild } from './catalog-build.ts';
import { notifyOfListChanges } from './list-changes.ts';
import { createSessionRecords, type SessionRecords } from './session-records.ts';
import { SnapshotIntake } from './snapshot-intake.ts';
import { createWorkerCore } from './worker-core.ts';
import { createWorkerHttp, type WorkerHttp } from './worker-http.ts';
import type { WorkerPartsOptions } from './worker-options.ts';

export interface WorkerParts extends WorkerHttp {
  readonly snapshots: SnapshotHolder;
  readonly registry: ServerRegistry;
  readonly sessions: Sessions;
  readonly admission: Admission;
  /** Applies a newer snapshot. */
  take(snapshot: Snapshot, source: 'control' | 'disk'): void;
  /** Applies newer keys. */
  takeKeys(frame: KeysFrame): void;
  readonly access: AccessWatch;
  readonly sessionRecords: SessionRecords;
  takeUsedKeys(): string[];
  readonly balancers: Balancers;
  /** Returns the newest listing of a server, or undefined when there is none yet. */
  listing(server: string): Listing | undefined;
}

export function createWorkerParts(options: WorkerPartsOptions): WorkerParts {
  const { runtime, currentLimits, snapshots } = options;
  const core = createWorkerCore(options);
  const { sessions, admission, keys, catalog, preferences, own, registry, access } = core;
  const balancers = new Balancers(runtime);
  const building = createCatalogBuild({ runtime, own, catalog, built: options.built });
  const intake = new SnapshotIntake({
    runtime,
    currentLimits,
    snapshots,
    own,
    building,
    registry,
    listed: options.listed,
  });
  registry.onListed((raw) => runtime.scope.run(`listing ${raw.server}`, () => intake.listed(raw)));
  notifyOfListChanges(catalog, sessions);
  return {
    ...createWorkerHttp(options, core, balancers),
    snapshots,
    registry,
    sessions,
    admission,
    take: (snapshot, source) => intake.take(snapshot, source),
    access,
    takeKeys: ({ keys: newest, keysRevision }) => void snapshots.swapKeys(newest, keysRevision),
    sessionRecords: createSessionRecords({ sessions, preferences, registry }),
    takeUsedKeys: () => keys.takeUsed(),
    balancers,
    listing: (server) => own.listing(server),
  };
}

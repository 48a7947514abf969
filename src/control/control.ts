/**
 * Composes the control plane: state in memory, the services that change it, and publishing to workers. `admin/` uses
 * it.
 * Guarantees: after `start` the first snapshot is published; messages of workers only change memory and queues.
 */

import type { Limits } from '../config/limits.ts';
import type { Config, Loaded } from '../config/load.ts';
import type { CatalogSize } from '../model/catalog-size.ts';
import type { Snapshot } from '../model/snapshot.ts';
import type { AppliedRevisions, KeysFrame } from '../relay/keys-messages.ts';
import type { Unconfirmed, WorkerKeys } from '../relay/keys-server.ts';
import type { SessionRecord } from '../relay/relay-messages.ts';
import type { RelayHandlers } from '../relay/relay-server.ts';
import type { Deadline } from '../runtime/deadline.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { Service } from '../runtime/service.ts';
import type { Store } from '../store/store.ts';
import { ControlState } from './control-state.ts';
import { createKeys, type Keys } from './keys.ts';
import { createListings } from './listings.ts';
import { createPublisher, type Publisher } from './publisher.ts';
import { createReload, type Reload } from './reload.ts';
import { createSessionRecords } from './session-records.ts';
import { createWorkerReports, type WorkerReports } from './worker-reports.ts';

export interface ControlParts {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly store: Store;
  /** Configuration at the start. */
  readonly config: Config;
  /** Digest of the configuration's content; undefined = unknown. */
  readonly digest?: string | undefined;
  /** Reads the configuration again. */
  readonly load: (deadline: Deadline) => Promise<Loaded>;
  /** Number of worker processes. */
  readonly workers: number;
  /** Used only after `start`. */
  readonly broadcast: {
    publish(snapshot: Snapshot): readonly CatalogSize[];
    publishKeys(frame: KeysFrame): void;
    workers(): readonly WorkerKeys[];
    /**
     * Waits until workers 1 to `workerCount` have applied these revisions, or until the deadline. Returns those that
     * have not. Never rejects.
     */
    awaitConfirmation(want: AppliedRevisions, workerCount: number, deadline: Deadline): Promise<readonly Unconfirmed[]>;
    sendSessionRecords(records: readonly SessionRecord[]): void;
    relist(): void;
  };
}

export interface Control extends Service {
  readonly state: ControlState;
  readonly keys: Keys;
  readonly publisher: Publisher;
  readonly reports: WorkerReports;
  readonly reload: Reload;
  /**
   * Catalogs too large for a snapshot. Clients still see these servers; a new worker reads their lists from the server
   * first.
   */
  readonly omittedCatalogs: readonly CatalogSize[];
  /** Revisions that each connected worker has applied. */
  readonly workerKeys: readonly WorkerKeys[];
  /**
   * Waits until every worker has applied the newest keys (and snapshot), at most `confirmKeysMs`. Returns those that
   * have not. Never rejects.
   */
  awaitConfirmation(what: 'keys' | 'snapshot'): Promise<readonly Unconfirmed[]>;
  /** Handlers of relay messages. */
  readonly handlers: RelayHandlers;
}

export function createControl(parts: ControlParts): Control {
  const { runtime, limits, store, broadcast, load } = parts;
  const state = new ControlState(parts.config, parts.workers);
  const reports = createWorkerReports(runtime);
  let leftOut: readonly CatalogSize[] = []; // bounded by: servers
  /** Catalogs that workers reported as too large to send to control. */
  const unsendable = new Map<string, CatalogSize>(); // bounded by: limits.servers
  const onlyConfigured = (all: readonly CatalogSize[]): CatalogSize[] =>
    all.filter(({ server }) => state.servers.some(({ slug }) => slug === server));
  const publisher = createPublisher({
    runtime,
    store,
    state,
    send(snapshot) {
      const before = leftOut;
      leftOut = broadcast.publish({ ...snapshot, catalogsTooLarge: onlyConfigured([...unsendable.values()]) });
      for (const { server, bytes } of leftOut)
        if (!before.some((one) => one.server === server))
          runtime.bus.publish({ type: 'catalog-left-out', server, bytes });
      reports.published(snapshot.revision);
    },
    sendKeys: (frame) => broadcast.publishKeys(frame),
  });
  const keys = createKeys({ runtime, store, state, onChanged: () => publisher.publishKeys() });
  const listings = createListings({ runtime, limits, store, state, onChanged: () => publisher.publishSoon() });
  const sessionRecords = createSessionRecords({
    runtime,
    limits,
    store,
    send: (list) => broadcast.sendSessionRecords(list),
  });
  const reload = createReload({
    runtime,
    store,
    state,
    publisher,
    listings,
    load,
    digest: parts.digest,
    relist: () => broadcast.relist(),
  });
  let isStarted = false;

  return {
    name: 'control',
    state,
    keys,
    publisher,
    reports,
    reload,
    get workerKeys() {
      return broadcast.workers();
    },
    get omittedCatalogs() {
      return onlyConfigured([...leftOut, ...unsendable.values()]);
    },
    async awaitConfirmation(what) {
      using deadline = runtime.deadline(limits.confirmKeysMs);
      const revision = what === 'snapshot' ? (publisher.current?.revision ?? 0) : 0;
      return await broadcast.awaitConfirmation(
        { keysRevision: publisher.keysRevision, revision },
        state.workers,
        deadline,
      );
    },
    handlers: {
      workerConnected(slot, pid, revision) {
        reports.connected(slot, pid, revision);
        publisher.raiseAbove(revision);
      },
      workerDisconnected: (slot) => reports.disconnected(slot),
      listingReceived(_slot, listing) {
        unsendable.delete(listing.server);
        listings.receive(listing);
      },
      factsReceived(slot, facts) {
        reports.receiveEvents(slot, facts);
        for (const fact of facts)
          if (fact.type === 'catalog-left-out' && (unsendable.size < limits.servers || unsendable.has(fact.server))) {
            unsendable.set(fact.server, { server: fact.server, bytes: fact.bytes });
            publisher.publishSoon();
          }
      },
      sessionRecordReceived: (record) => sessionRecords.add(record),
      statusesReceived: (slot, servers, figures) => reports.statuses(slot, servers, figures),
      keysUsed: (ids) => keys.recordUse(ids),
      sessionRecords: () => sessionRecords.all(),
    },
    async start(deadline) {
      if (isStarted) return;
      await state.load(store, deadline);
      await publisher.start(deadline);
      await sessionRecords.start(deadline);
      await reload.initialize(deadline);
      isStarted = true;
      publisher.publishKeys();
      publisher.publishNow();
      const { file } = reload.status;
      const revision = publisher.current?.revision ?? 0;
      runtime.bus.publish({ type: 'config-applied', file, servers: state.config.servers.length, revision });
    },
    async stop() {
      publisher.stop();
      sessionRecords.stop();
    },
  };
}

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
import { OmittedCatalogs } from './_omitted-catalogs.ts';
import { ControlState } from './control-state.ts';
import { Keys } from './keys.ts';
import { Listings } from './listings.ts';
import { Publisher } from './publisher.ts';
import { Reload } from './reload.ts';
import { SessionRecords } from './session-records.ts';
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

export class Control implements Service {
  readonly name = 'control';
  readonly state: ControlState;
  readonly keys: Keys;
  readonly publisher: Publisher;
  readonly reports: WorkerReports;
  readonly reload: Reload;
  /** Receives the messages of workers; passed to the relay. */
  readonly handlers: RelayHandlers;
  readonly #parts: ControlParts;
  readonly #listings: Listings;
  readonly #sessionRecords: SessionRecords;
  readonly #omitted: OmittedCatalogs;
  #isStarted = false;

  constructor(parts: ControlParts) {
    const { runtime, limits, store, broadcast, load, digest } = parts;
    this.#parts = parts;
    const state = new ControlState(parts.config, parts.workers);
    this.state = state;
    this.reports = createWorkerReports(runtime);
    this.#omitted = new OmittedCatalogs({ runtime, limits, state });
    this.publisher = new Publisher({
      runtime,
      store,
      state,
      send: (snapshot) => this.#send(snapshot),
      sendKeys: (frame) => broadcast.publishKeys(frame),
    });
    this.keys = new Keys({ runtime, store, state, onChanged: () => this.publisher.publishKeys() });
    this.#listings = new Listings({ runtime, limits, store, state, onChanged: () => this.publisher.publishSoon() });
    const send = (records: readonly SessionRecord[]): void => broadcast.sendSessionRecords(records);
    this.#sessionRecords = new SessionRecords({ runtime, limits, store, send });
    const { publisher } = this;
    const relist = (): void => broadcast.relist();
    this.reload = new Reload({ runtime, store, state, publisher, listings: this.#listings, load, digest, relist });
    this.handlers = this.#createHandlers();
  }

  /** Revisions that each connected worker has applied. */
  get workerKeys(): readonly WorkerKeys[] {
    return this.#parts.broadcast.workers();
  }

  /**
   * Catalogs too large for a snapshot. Clients still see these servers; a new worker reads their lists from the server
   * first.
   */
  get omittedCatalogs(): readonly CatalogSize[] {
    return this.#omitted.list();
  }

  async start(deadline: Deadline): Promise<void> {
    if (this.#isStarted) return;
    const { store, runtime } = this.#parts;
    await this.state.load(store, deadline);
    await this.publisher.start(deadline);
    await this.#sessionRecords.start(deadline);
    await this.reload.initialize(deadline);
    this.#isStarted = true;
    this.publisher.publishKeys();
    this.publisher.publishNow();
    const { file } = this.reload.status;
    const revision = this.publisher.current?.revision ?? 0;
    runtime.bus.publish({ type: 'config-applied', file, servers: this.state.config.servers.length, revision });
  }

  async stop(_deadline: Deadline): Promise<void> {
    this.publisher.stop();
    this.#sessionRecords.stop();
  }

  /**
   * Waits until every worker has applied the newest keys (and snapshot), at most `confirmKeysMs`. Returns those that
   * have not. Never rejects.
   */
  async awaitConfirmation(what: 'keys' | 'snapshot'): Promise<readonly Unconfirmed[]> {
    const { runtime, limits, broadcast } = this.#parts;
    using deadline = runtime.deadline(limits.confirmKeysMs);
    const revision = what === 'snapshot' ? (this.publisher.current?.revision ?? 0) : 0;
    const want = { keysRevision: this.publisher.keysRevision, revision };
    return await broadcast.awaitConfirmation(want, this.state.workers, deadline);
  }

  #send(snapshot: Snapshot): void {
    const catalogsTooLarge = this.#omitted.unsendable();
    this.#omitted.leftOut(this.#parts.broadcast.publish({ ...snapshot, catalogsTooLarge }));
    this.reports.published(snapshot.revision);
  }

  #createHandlers(): RelayHandlers {
    return {
      workerConnected: (slot, pid, revision) => {
        this.reports.connected(slot, pid, revision);
        this.publisher.raiseAbove(revision);
      },
      workerDisconnected: (slot) => this.reports.disconnected(slot),
      listingReceived: (_slot, listing) => {
        this.#omitted.received(listing.server);
        this.#listings.receive(listing);
      },
      factsReceived: (slot, facts) => {
        this.reports.receiveEvents(slot, facts);
        for (const fact of facts)
          if (fact.type === 'catalog-left-out' && this.#omitted.addUnsendable(fact)) this.publisher.publishSoon();
      },
      sessionRecordReceived: (record) => this.#sessionRecords.add(record),
      statusesReceived: (slot, servers, figures) => this.reports.statuses(slot, servers, figures),
      keysUsed: (ids) => this.keys.recordUse(ids),
      sessionRecords: () => this.#sessionRecords.all(),
    };
  }
}

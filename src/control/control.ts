/**
 * The control plane's middle: the world in memory, what changes it, and what brings it to the hubs. The composition root gives it a store,
 * a configuration and a relay to speak through; `admin/` asks it.
 * Promises: after `start` the first world is published; hubs' words only change memory and queues.
 */

import type { Limits } from '../config/limits.ts';
import type { Config, Loaded } from '../config/load.ts';
import type { CatalogSize } from '../kernel/catalog-size.ts';
import type { Deadline } from '../kernel/deadline.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { Service } from '../kernel/service.ts';
import type { Snapshot } from '../kernel/snapshot.ts';
import type { Applied, KeysFrame } from '../relay/keys-messages.ts';
import type { Unconfirmed, WorkerKeys } from '../relay/keys-server.ts';
import type { SessionMark } from '../relay/relay-messages.ts';
import type { RelayEars } from '../relay/relay-server.ts';
import type { Store } from '../store/store.ts';
import { World } from './control-state.ts';
import { createKeys, type Keys } from './keys.ts';
import { createListings } from './listings.ts';
import { createPublisher, type Publisher } from './publisher.ts';
import { createReload, type Reload } from './reload.ts';
import { createSessionMarks } from './session-records.ts';
import { createHubReports, type HubReports } from './worker-reports.ts';

export interface ControlParts {
  readonly kernel: Kernel;
  readonly limits: Limits;
  readonly store: Store;
  /** The configuration of the start. */
  readonly config: Config;
  /** Of its content; undefined = not known. */
  readonly digest?: string | undefined;
  /** Reads it again. */
  readonly load: (deadline: Deadline) => Promise<Loaded>;
  /** Number of hub processes. */
  readonly hubs: number;
  /** Called after `start` only. */
  readonly broadcast: {
    publish(snapshot: Snapshot): readonly CatalogSize[];
    publishKeys(frame: KeysFrame): void;
    workers(): readonly WorkerKeys[];
    /** Workers that have not applied these revisions by the deadline. Never rejects. */
    confirmed(want: Applied, hubs: number, deadline: Deadline): Promise<readonly Unconfirmed[]>;
    tellMarks(marks: readonly SessionMark[]): void;
    relist(): void;
  };
}

export interface Control extends Service {
  readonly world: World;
  readonly keys: Keys;
  readonly publisher: Publisher;
  readonly reports: HubReports;
  readonly reload: Reload;
  /** Servers whose lists are too large to be sent to workers; they hide nothing, but a new worker reads them from the server first. */
  readonly leftOut: readonly CatalogSize[];
  /** What each connected worker has applied. */
  readonly workerKeys: readonly WorkerKeys[];
  /** Waits until every worker has applied the newest keys (and snapshot); names those that have not within `confirmKeysMs`. Never rejects. */
  confirmed(what: 'keys' | 'snapshot'): Promise<readonly Unconfirmed[]>;
  /** What the relay calls. */
  readonly ears: RelayEars;
}

export function createControl(parts: ControlParts): Control {
  const { kernel, limits, store, broadcast, load } = parts;
  const world = new World(parts.config, parts.hubs);
  const reports = createHubReports(kernel);
  let leftOut: readonly CatalogSize[] = []; // bounded by: servers
  /** Lists that alone are too large for a line to control, as workers report them. */
  const unsendable = new Map<string, CatalogSize>(); // bounded by: limits.servers
  const configuredOf = (all: readonly CatalogSize[]): CatalogSize[] =>
    all.filter(({ server }) => world.servers.some(({ slug }) => slug === server));
  const publisher = createPublisher({
    kernel,
    store,
    world,
    send(snapshot) {
      const before = leftOut;
      leftOut = broadcast.publish({ ...snapshot, catalogsTooLarge: configuredOf([...unsendable.values()]) });
      for (const { server, bytes } of leftOut)
        if (!before.some((one) => one.server === server))
          kernel.bus.publish({ type: 'catalog-left-out', server, bytes });
      reports.sent(snapshot.revision);
    },
    sendKeys: (frame) => broadcast.publishKeys(frame),
  });
  const keys = createKeys({ kernel, store, world, changed: () => publisher.keysNow() });
  const listings = createListings({ kernel, limits, store, world, changed: () => publisher.soon() });
  const marks = createSessionMarks({ kernel, limits, store, tell: (list) => broadcast.tellMarks(list) });
  const reload = createReload({
    kernel,
    store,
    world,
    publisher,
    listings,
    load,
    digest: parts.digest,
    relist: () => broadcast.relist(),
  });
  let isStarted = false;

  return {
    name: 'control',
    world,
    keys,
    publisher,
    reports,
    reload,
    get workerKeys() {
      return broadcast.workers();
    },
    get leftOut() {
      return configuredOf([...leftOut, ...unsendable.values()]);
    },
    async confirmed(what) {
      using deadline = kernel.deadline(limits.confirmKeysMs);
      const revision = what === 'snapshot' ? (publisher.current?.revision ?? 0) : 0;
      return await broadcast.confirmed({ keysRevision: publisher.keysRevision, revision }, world.hubs, deadline);
    },
    ears: {
      hello(slot, pid, revision) {
        reports.hello(slot, pid, revision);
        publisher.seen(revision);
      },
      gone: (slot) => reports.gone(slot),
      listing(_slot, listing) {
        unsendable.delete(listing.server);
        listings.take(listing);
      },
      facts(slot, facts) {
        reports.facts(slot, facts);
        for (const fact of facts)
          if (fact.type === 'catalog-left-out' && (unsendable.size < limits.servers || unsendable.has(fact.server))) {
            unsendable.set(fact.server, { server: fact.server, bytes: fact.bytes });
            publisher.soon();
          }
      },
      mark: (mark) => marks.add(mark),
      statuses: (slot, servers, requests) => reports.statuses(slot, servers, requests),
      used: (ids) => keys.used(ids),
      marks: () => marks.all(),
    },
    async start(deadline) {
      if (isStarted) return;
      await world.read(store, deadline);
      await publisher.start(deadline);
      await marks.start(deadline);
      await reload.first(deadline);
      isStarted = true;
      publisher.keysNow();
      publisher.now();
      const { file } = reload.state;
      const revision = publisher.current?.revision ?? 0;
      kernel.bus.publish({ type: 'config-applied', file, servers: world.config.servers.length, revision });
    },
    async stop() {
      publisher.stop();
      marks.stop();
    },
  };
}

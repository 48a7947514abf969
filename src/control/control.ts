/**
 * The control plane's middle: the world in memory, what changes it, and what brings it to the hubs. The composition root gives it a store,
 * a configuration and a relay to speak through; `admin/` asks it.
 * Promises: after `start` the first world is published; hubs' words only change memory and queues.
 */

import type { Limits } from '../config/limits.ts';
import type { Config, Loaded } from '../config/load.ts';
import type { Deadline } from '../kernel/deadline.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { Service } from '../kernel/service.ts';
import type { Snapshot } from '../kernel/snapshot.ts';
import type { RelayEars } from '../relay/relay-server.ts';
import type { SessionMark } from '../relay/relay-words.ts';
import type { Store } from '../store/store.ts';
import { createHubReports, type HubReports } from './hub-reports.ts';
import { createKeys, type Keys } from './keys.ts';
import { createListings } from './listings.ts';
import { createPublisher, type Publisher } from './publisher.ts';
import { createReload, type Reload } from './reload.ts';
import { createSessionMarks } from './session-marks.ts';
import { World } from './world.ts';

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
    publish(snapshot: Snapshot): void;
    tellMarks(marks: readonly SessionMark[]): void;
  };
}

export interface Control extends Service {
  readonly world: World;
  readonly keys: Keys;
  readonly publisher: Publisher;
  readonly reports: HubReports;
  readonly reload: Reload;
  /** What the relay calls. */
  readonly ears: RelayEars;
}

export function createControl(parts: ControlParts): Control {
  const { kernel, limits, store, broadcast, load } = parts;
  const world = new World(parts.config, parts.hubs);
  const reports = createHubReports(kernel);
  const publisher = createPublisher({
    kernel,
    store,
    world,
    send(snapshot) {
      broadcast.publish(snapshot);
      reports.sent(snapshot.revision);
    },
  });
  const keys = createKeys({ kernel, store, world, changed: () => publisher.soon('keys') });
  const listings = createListings({ kernel, limits, store, world, changed: () => publisher.soon('listings') });
  const marks = createSessionMarks({ kernel, limits, store, tell: (list) => broadcast.tellMarks(list) });
  const reload = createReload({ kernel, store, world, publisher, listings, load, digest: parts.digest });
  let isStarted = false;

  return {
    name: 'control',
    world,
    keys,
    publisher,
    reports,
    reload,
    ears: {
      hello(slot, pid, revision) {
        reports.hello(slot, pid, revision);
        publisher.seen(revision);
      },
      gone: (slot) => reports.gone(slot),
      listing: (_slot, listing) => listings.take(listing),
      facts: (slot, facts) => reports.facts(slot, facts),
      mark: (mark) => marks.add(mark),
      statuses: (slot, servers) => reports.statuses(slot, servers),
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

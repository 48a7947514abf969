/**
 * A worker's two connections to control. Snapshots, session records and keys come in; listings, session records, events
 * and confirmations of keys go out.
 */
import { join } from 'node:path';
import type { Limits } from '../config/limits.ts';
import type { SnapshotHolder } from '../model/snapshot.ts';
import { KEYS_SOCKET, RELAY_SOCKET } from '../model/supervisor-messages.ts';
import { KeysClient } from '../relay/keys-client.ts';
import { RelayClient } from '../relay/relay-client.ts';
import type { Deadline } from '../runtime/deadline.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { WorkerEnvironment } from './worker-environment.ts';
import type { WorkerParts } from './worker-parts.ts';

/** Time in ms in which a connection may send its last messages. */
const CLOSE_MS = 1000;

export interface ControlLinksParts {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly environment: WorkerEnvironment;
  readonly snapshots: SnapshotHolder;
  /** Returns the modules that receive messages. Not called before `start`. */
  readonly receiver: () => WorkerParts;
}

export class ControlLinks {
  readonly relay: RelayClient;
  readonly keys: KeysClient;
  readonly #parts: ControlLinksParts;

  constructor(parts: ControlLinksParts) {
    this.#parts = parts;
    this.relay = this.#createRelay();
    this.keys = this.#createKeys();
  }

  /** Sends to control from now on what these modules report. */
  sendFrom({ access, sessionRecords }: WorkerParts): void {
    access.onApplied(() => this.keys.confirm());
    sessionRecords.onRecord((record) => this.relay.sendSessionRecord(record));
    this.#parts.runtime.bus.listen((event) => {
      // One per call; control stores no activity yet, and the log contains them.
      if (event.type !== 'call-answered' && event.type !== 'server-said') this.relay.sendFact(event);
    });
  }

  async start(deadline: Deadline): Promise<void> {
    await this.keys.start(deadline);
    await this.relay.start(deadline);
  }

  /** Connects now if not connected: control is ready. */
  reconnect(): void {
    this.keys.reconnect();
    this.relay.reconnect();
  }

  /** Ends the connections; each may run beside the others. */
  closers(): readonly (() => Promise<void>)[] {
    const { runtime } = this.#parts;
    return [this.relay, this.keys].map((link) => () => link.stop(runtime.deadline(CLOSE_MS)));
  }

  #createRelay(): RelayClient {
    const { runtime, limits, environment, snapshots, receiver } = this.#parts;
    return new RelayClient({
      runtime,
      limits,
      socketPath: join(environment.runDir, RELAY_SOCKET),
      slot: environment.slot,
      life: environment.life,
      onSnapshot: (snapshot) => {
        receiver().take(snapshot, 'control');
        receiver().health.started();
      },
      onSessionRecords: (records) => receiver().sessionRecords.apply(records),
      onRelist: () => receiver().registry.relist(),
      current: () => snapshots.current,
      listing: (server) => receiver().listing(server),
    });
  }

  #createKeys(): KeysClient {
    const { runtime, limits, environment, receiver } = this.#parts;
    return new KeysClient({
      runtime,
      limits,
      slot: environment.slot,
      socketPath: join(environment.runDir, KEYS_SOCKET),
      applied: () => receiver().access.applied,
      onKeys: (frame) => receiver().takeKeys(frame),
    });
  }
}

/**
 * Control's end of the relay: sends snapshots and session records to workers, and passes their messages to `handlers`.
 * Guarantees: `publish` never waits; a worker is sent only the lists that it does not have; one that reads nothing for
 * 5 s, or sends an invalid message, is disconnected and the others are unaffected; an oversized line is skipped and
 * reported; session records never delay a snapshot.
 */
import { createServer, type Server, type Socket } from 'node:net';
import type { Limits } from '../config/limits.ts';
import type { CatalogSize } from '../model/catalog-size.ts';
import type { HubEvent } from '../model/events.ts';
import { type Listing, type Snapshot, wholeListing } from '../model/snapshot.ts';
import { CappedMap } from '../runtime/capped.ts';
import type { Deadline } from '../runtime/deadline.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { Service } from '../runtime/service.ts';
import { guarded } from './_guarded.ts';
import { SnapshotParts } from './_snapshot-parts.ts';
import { WorkerConnection } from './_worker-connection.ts';
import type { ReportedStatus, SessionRecord, WorkerFigures, WorkerMessage } from './relay-messages.ts';
import { closeServer, listenOn } from './unix-socket.ts';

const MAX_WORKERS = 128;

/** Receives what workers send, in order for each worker. Must not wait or block. */
export interface RelayHandlers {
  workerConnected(slot: number, pid: number, revision: number): void;
  workerDisconnected(slot: number): void;
  listingReceived(slot: number, listing: Listing): void;
  factsReceived(slot: number, facts: readonly HubEvent[]): void;
  sessionRecordReceived(record: SessionRecord): void;
  statusesReceived(slot: number, servers: readonly ReportedStatus[], figures?: WorkerFigures): void;
  keysUsed(keyIds: readonly string[]): void;
  /** Returns the records to send to a worker that connects. */
  sessionRecords(): readonly SessionRecord[];
}

export interface RelayServerParts {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly socketPath: string;
  readonly handlers: RelayHandlers;
}

export class RelayServer implements Service {
  readonly name = 'relay';
  readonly #parts: RelayServerParts;
  readonly #connections: CappedMap<Socket, WorkerConnection>;
  readonly #snapshot: SnapshotParts;
  #server: Server | undefined;

  constructor(parts: RelayServerParts) {
    this.#parts = parts;
    this.#connections = new CappedMap('relay.hubs', MAX_WORKERS, 'refuse', parts.runtime.ceilings);
    this.#snapshot = new SnapshotParts(() => parts.limits.snapshotBytes);
  }

  async start(deadline: Deadline): Promise<void> {
    if (this.#server) return;
    const { runtime, socketPath } = this.#parts;
    const server = createServer((socket) => this.#accept(socket));
    await runtime.waits.for(listenOn(server, socketPath), { label: 'service-start', owner: this.name, deadline });
    this.#server = server;
  }

  async stop(deadline: Deadline): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (!server) return;
    for (const connection of [...this.#connections.values()]) connection.destroy();
    await closeServer(server, { runtime: this.#parts.runtime, owner: this.name }, deadline);
  }

  /**
   * Sends to all workers, and to each that connects later. Returns the catalogs that exceed `snapshotBytes` and are
   * left out; throws `store-failed` when the snapshot is too large even without lists.
   */
  publish(snapshot: Snapshot): readonly CatalogSize[] {
    const leftOut = this.#snapshot.update(snapshot);
    for (const connection of this.#greeted()) connection.sendSnapshot();
    return leftOut;
  }

  /** Makes all connected workers read the lists of their servers again. */
  relist(): void {
    for (const connection of this.#greeted()) connection.relist();
  }

  sendSessionRecords(records: readonly SessionRecord[]): void {
    for (const connection of this.#greeted()) connection.sendRecords(records);
  }

  /** Returns the workers that have said hello. */
  #greeted(): WorkerConnection[] {
    return [...this.#connections.values()].filter(({ hello }) => hello !== undefined);
  }

  #accept(socket: Socket): void {
    const connections = this.#connections;
    if (connections.size >= connections.max) return void socket.destroy();
    const { runtime, limits } = this.#parts;
    const connection = new WorkerConnection({
      runtime,
      limits,
      socket,
      snapshot: this.#snapshot,
      received: (from, message, bytes) => this.#receive(from, message, bytes),
      closed: (from) => {
        const { slot } = from;
        const wasNewest = slot !== undefined && this.#newestOf(slot) === from;
        connections.delete(socket);
        if (wasNewest) guarded(runtime, this.name, () => this.#newestClosed(slot));
      },
    });
    connections.set(socket, connection);
  }

  #receive(from: WorkerConnection, message: WorkerMessage, bytes: number): void {
    const { handlers } = this.#parts;
    if (message.t === 'hello') return this.#receiveHello(from, message);
    const { slot } = from;
    if (slot === undefined) return from.disconnect('sent a message before hello');
    if (message.t === 'rows') from.addRows(message, bytes);
    else if (message.t === 'want') from.resend(message.server);
    else if (message.t === 'listed') {
      const listing = from.completeListing(message);
      if (listing) handlers.listingReceived(slot, listing);
    } else if (message.t === 'listing') handlers.listingReceived(slot, wholeListing(message.listing));
    else if (message.t === 'facts') handlers.factsReceived(slot, message.facts);
    else if (message.t === 'mark') handlers.sessionRecordReceived(toSessionRecord(message));
    else if (message.t === 'statuses') {
      // A draining worker still reports its servers, but its replacement reports for the slot.
      if (this.#newestOf(slot) === from) handlers.statusesReceived(slot, message.servers, message);
    } else if (message.t === 'used') handlers.keysUsed(message.keyIds);
  }

  #receiveHello(from: WorkerConnection, message: WorkerMessage & { t: 'hello' }): void {
    // Without them the connection would belong to no worker and stay open.
    if (![message.slot, message.pid, message.revision].every(Number.isSafeInteger))
      return from.disconnect('sent an invalid hello');
    // A process that reconnects may still have its old connection open.
    for (const other of this.#connections.values())
      if (other !== from && other.slot === message.slot && other.hello?.pid === message.pid) other.destroy();
    const { handlers } = this.#parts;
    from.greet(message);
    if (this.#newestOf(message.slot) === from) handlers.workerConnected(message.slot, message.pid, message.revision);
    from.sendRecords(handlers.sessionRecords());
    from.sendSnapshot();
  }

  /** Returns the newest process of a slot. */
  #newestOf(slot: number): WorkerConnection | undefined {
    let newest: WorkerConnection | undefined;
    for (const connection of this.#connections.values())
      if (connection.slot === slot && (connection.hello?.life ?? 0) >= (newest?.hello?.life ?? 0)) newest = connection;
    return newest;
  }

  #newestClosed(slot: number): void {
    const next = this.#newestOf(slot)?.hello;
    if (next) this.#parts.handlers.workerConnected(slot, next.pid, next.revision);
    else this.#parts.handlers.workerDisconnected(slot);
  }
}

function toSessionRecord({ id, atMs, wishes, owner }: SessionRecord): SessionRecord {
  return { id, atMs, wishes, ...(owner === undefined ? {} : { owner }) };
}

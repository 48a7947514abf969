/**
 * Control's end of the relay: sends snapshots and session records to workers, and passes their messages to `handlers`.
 * Guarantees: `publish` never waits; a worker is sent only the lists that it does not have; one that reads nothing for 5 s, or sends an invalid
 * message, is disconnected and the others are unaffected; an oversized line is skipped and reported; session records never delay a snapshot.
 */
import { createServer, type Server, type Socket } from 'node:net';
import type { Limits } from '../config/limits.ts';
import type { CatalogSize } from '../model/catalog-size.ts';
import { HubError } from '../model/errors.ts';
import type { HubEvent } from '../model/events.ts';
import { type Listing, type Snapshot, wholeListing } from '../model/snapshot.ts';
import { CappedMap } from '../runtime/capped.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { Service } from '../runtime/service.ts';
import { PacedLineReader } from './_paced-line-reader.ts';
import { SessionRecordOutbox } from './_session-record-outbox.ts';
import { SnapshotParts } from './_snapshot-parts.ts';
import { WorkerOutbox } from './_worker-outbox.ts';
import { RowsInbox } from './listing-lines.ts';
import {
  encodeMessage,
  parseMessage,
  type ReportedStatus,
  type SessionRecord,
  type WorkerFigures,
  type WorkerMessage,
} from './relay-messages.ts';
import { closeServer, listenOn } from './unix-socket.ts';

const MAX_WORKERS = 128;
const HELLO_TIMEOUT_MS = 5000;

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

export interface RelayServer extends Service {
  /**
   * Sends to all workers, and to each that connects later. Returns the catalogs that exceed `snapshotBytes` and are left out; throws `store-failed`
   * when the snapshot is too large even without lists.
   */
  publish(snapshot: Snapshot): readonly CatalogSize[];
  sendSessionRecords(records: readonly SessionRecord[]): void;
  /** Makes all connected workers read the lists of their servers again. */
  relist(): void;
}

interface WorkerConnection {
  readonly socket: Socket;
  readonly records: SessionRecordOutbox;
  readonly rows: RowsInbox;
  readonly outbox: WorkerOutbox;
  /** Bytes of the rows received so far of the current listing. */
  rowBytes: number;
  slot: number | undefined;
  /** Set together with `slot`. */
  hello: (WorkerMessage & { t: 'hello' }) | undefined;
}

export function createRelayServer(parts: {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly socketPath: string;
  readonly handlers: RelayHandlers;
}): RelayServer {
  const { runtime, limits, socketPath, handlers } = parts;
  const connections = new CappedMap<Socket, WorkerConnection>('relay.hubs', MAX_WORKERS, 'refuse', runtime.ceilings);
  const snapshotParts = new SnapshotParts(() => limits.snapshotBytes);
  let server: Server | undefined;

  function flushRecords({ socket, records }: WorkerConnection): void {
    if (!socket.destroyed)
      records.flush(
        () => socket.writableLength,
        (line) => socket.write(line),
      );
  }

  function report(message: string): void {
    runtime.bus.publish({ type: 'task-faulted', task: 'relay', fault: new HubError('overloaded', { message }) });
  }

  function disconnect(connection: WorkerConnection, reason: string): void {
    report(`worker ${connection.slot ?? '?'} ${reason}; disconnected`);
    connection.socket.destroy();
  }

  function receive(connection: WorkerConnection, message: WorkerMessage, bytes: number): void {
    if (message.t === 'hello') return receiveHello(connection, message);
    if (connection.slot === undefined) return disconnect(connection, 'sent a message before hello');
    if (message.t === 'rows') {
      connection.rowBytes += bytes;
      connection.rows.add(message, bytes);
    } else if (message.t === 'want') connection.outbox.resend(message.server);
    else if (message.t === 'listed') receiveListing(connection, connection.slot, message);
    else if (message.t === 'listing') handlers.listingReceived(connection.slot, wholeListing(message.listing));
    else if (message.t === 'facts') handlers.factsReceived(connection.slot, message.facts);
    else if (message.t === 'mark') handlers.sessionRecordReceived(toSessionRecord(message));
    else if (message.t === 'statuses') {
      // A draining worker still reports its servers, but its replacement reports for the slot.
      if (newestOfSlot(connection.slot) === connection)
        handlers.statusesReceived(connection.slot, message.servers, message);
    } else if (message.t === 'used') handlers.keysUsed(message.keyIds);
  }

  function receiveListing(connection: WorkerConnection, slot: number, message: WorkerMessage & { t: 'listed' }): void {
    const listing = connection.rows.listing(message.version, message);
    const bytes = connection.rowBytes;
    connection.rows.clear();
    connection.rowBytes = 0;
    if (listing) {
      const whole = wholeListing(listing);
      snapshotParts.recordSize(whole, bytes);
      connection.outbox.setKnown(whole.server, whole);
      handlers.listingReceived(slot, whole);
    } else report(`worker ${slot} sent an incomplete listing of ${message.listing.server}; it was ignored`);
  }

  function receiveHello(connection: WorkerConnection, message: WorkerMessage & { t: 'hello' }): void {
    // A process that reconnects may still have its old connection open.
    for (const other of connections.values())
      if (other !== connection && other.slot === message.slot && other.hello?.pid === message.pid)
        other.socket.destroy();
    connection.slot = message.slot;
    connection.hello = message;
    for (const [server, digest] of Object.entries(message.lists ?? {}))
      connection.outbox.setKnown(server, { digest, atMs: 0 });
    if (newestOfSlot(message.slot) === connection)
      handlers.workerConnected(message.slot, message.pid, message.revision);
    connection.records.add(handlers.sessionRecords());
    flushRecords(connection);
    connection.outbox.update();
  }

  /** Returns the newest process of a slot. */
  function newestOfSlot(slot: number): WorkerConnection | undefined {
    let newest: WorkerConnection | undefined;
    for (const connection of connections.values())
      if (connection.slot === slot && connection.hello && connection.hello.life >= (newest?.hello?.life ?? 0))
        newest = connection;
    return newest;
  }

  function newestDisconnected(slot: number): void {
    const next = newestOfSlot(slot)?.hello;
    if (next) handlers.workerConnected(slot, next.pid, next.revision);
    else handlers.workerDisconnected(slot);
  }

  function accept(socket: Socket): void {
    if (connections.size >= connections.max) return void socket.destroy();
    const disconnectSlow = (): void => disconnect(connection, 'reads nothing');
    const connection: WorkerConnection = {
      socket,
      outbox: new WorkerOutbox({ runtime, socket, snapshot: snapshotParts, disconnect: disconnectSlow }),
      rowBytes: 0,
      records: new SessionRecordOutbox(() => limits.tombstones, runtime.ceilings),
      rows: new RowsInbox(() => limits.snapshotBytes),
      slot: undefined,
      hello: undefined,
    };
    connections.set(socket, connection);
    const helloTimer = runtime.timers.after(HELLO_TIMEOUT_MS, () => {
      if (connection.slot === undefined) disconnect(connection, `sent no hello within ${HELLO_TIMEOUT_MS} ms`);
    });
    new PacedLineReader(socket, {
      runtime,
      maxBytes: () => limits.snapshotBytes,
      owner: 'a worker',
      onLine(line) {
        const message = parseMessage<WorkerMessage>(line);
        if (!message) disconnect(connection, 'sent an invalid message');
        else if (!socket.destroyed) guarded(() => receive(connection, message, line.length));
      },
      onOversized: () =>
        report(`worker ${connection.slot ?? '?'} sent a line longer than snapshotBytes; it was ignored`),
    });
    socket.on('drain', () => flushRecords(connection));
    socket.on('error', () => {});
    socket.on('close', () => {
      helloTimer[Symbol.dispose]();
      const { slot } = connection;
      const wasNewest = slot !== undefined && newestOfSlot(slot) === connection;
      connections.delete(socket);
      connection.records[Symbol.dispose]();
      if (wasNewest) guarded(() => newestDisconnected(slot));
    });
  }

  // An error caused by one worker must not affect the others.
  function guarded(work: () => void): void {
    try {
      work();
    } catch (fault) {
      runtime.bus.publish({ type: 'task-faulted', task: 'relay', fault });
    }
  }

  return {
    name: 'relay',
    async start(deadline) {
      if (server) return;
      const made = createServer(accept);
      await runtime.waits.for(listenOn(made, socketPath), { label: 'service-start', owner: 'relay', deadline });
      server = made;
    },
    async stop(deadline) {
      const stopping = server;
      server = undefined;
      if (!stopping) return;
      for (const connection of [...connections.values()]) connection.socket.destroy();
      await closeServer(stopping, { runtime, owner: 'relay' }, deadline);
    },
    publish(snapshot) {
      const leftOut = snapshotParts.update(snapshot);
      for (const connection of [...connections.values()]) if (connection.slot !== undefined) connection.outbox.update();
      return leftOut;
    },
    relist() {
      for (const { slot, socket } of [...connections.values()])
        if (slot !== undefined && socket.writable) socket.write(encodeMessage({ t: 'relist' }));
    },
    sendSessionRecords(records) {
      for (const connection of [...connections.values()]) {
        if (connection.slot === undefined) continue;
        connection.records.add(records);
        flushRecords(connection);
      }
    },
  };
}

function toSessionRecord({ id, atMs, wishes, owner }: SessionRecord): SessionRecord {
  return { id, atMs, wishes, ...(owner === undefined ? {} : { owner }) };
}

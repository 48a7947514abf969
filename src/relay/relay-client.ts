/**
 * The worker's end of the relay: receives snapshots, sends events, listings and session records. Control may be
 * unavailable for any time.
 * Guarantees: no `send…` method waits, throws or grows without limit; reconnects for ever with backoff; session records
 * and listings are sent again after each reconnect until control confirms them; the oldest events are dropped first,
 * and counted.
 */
import type { Socket } from 'node:net';
import type { Limits } from '../config/limits.ts';
import type { HubEvent } from '../model/events.ts';
import type { Listing, Snapshot } from '../model/snapshot.ts';
import { CappedMap } from '../runtime/capped.ts';
import type { Deadline } from '../runtime/deadline.ts';
import type { RequestTotals } from '../runtime/request-counts.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { Service } from '../runtime/service.ts';
import { ControlConnection } from './_control-connection.ts';
import { EventSender } from './_event-sender.ts';
import { guarded } from './_guarded.ts';
import { ListingSender } from './_listing-sender.ts';
import { PacedLineReader } from './_paced-line-reader.ts';
import { SessionRecordSender } from './_session-record-sender.ts';
import { SnapshotInbox } from './_snapshot-inbox.ts';
import {
  type ControlMessage,
  encodeMessage,
  parseMessage,
  type ReportedStatus,
  type SessionRecord,
  type WorkerMessage,
} from './relay-messages.ts';

const EVENTS_INTERVAL_MS = 250;
const USED_INTERVAL_MS = 60_000;
const USED_KEYS = 20_000;
/** Unread bytes to control above which events wait in their queue. */
const MAX_UNREAD_BYTES = 1024 * 1024;

export interface RelayClientParts {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly socketPath: string;
  readonly slot: number;
  /** Number of the process in its slot, counted by the supervisor. */
  readonly life: number;
  /** Called with a newer snapshot, or with new lists and names of the same revision. */
  readonly onSnapshot: (snapshot: Snapshot) => void;
  readonly onSessionRecords: (records: readonly SessionRecord[]) => void;
  /** Called when the lists of all servers must be read again. */
  readonly onRelist?: () => void;
  /** Returns this worker's snapshot (it may come from disk); absent = the last one received here. */
  readonly current?: () => Snapshot;
  /** Returns this worker's newest listing of a server. */
  readonly listing?: (server: string) => Listing | undefined;
}

export class RelayClient implements Service {
  readonly name = 'relay';
  readonly #parts: RelayClientParts;
  readonly #connection: ControlConnection;
  readonly #inbox: SnapshotInbox;
  readonly #events: EventSender;
  readonly #listings: ListingSender;
  readonly #records: SessionRecordSender;
  readonly #used: CappedMap<string, true>;
  #timers: readonly Disposable[] = []; // bounded by: the two of start()
  #statuses: (WorkerMessage & { t: 'statuses' }) | undefined; // bounded by: the servers of this worker
  #hasUnsentStatuses = false;

  constructor(parts: RelayClientParts) {
    const { runtime, limits } = parts;
    this.#parts = parts;
    this.#events = new EventSender(parts);
    this.#records = new SessionRecordSender(parts);
    this.#listings = new ListingSender({ runtime, limits, ready: this.#ready, onSent: this.#flush });
    this.#used = new CappedMap('relay.used', USED_KEYS, 'drop-oldest', runtime.ceilings);
    this.#inbox = this.#createInbox();
    this.#connection = new ControlConnection({
      runtime,
      socketPath: parts.socketPath,
      created: (socket) => this.#read(socket),
      opened: () => this.#opened(),
      lost: () => runtime.bus.publish({ type: 'control-lost', reason: 'the relay connection was closed' }),
    });
  }

  get connected(): boolean {
    return this.#connection.socket !== undefined;
  }

  /** Connects now if not connected, without waiting for the backoff. */
  reconnect(): void {
    this.#connection.reconnect();
  }

  async start(_deadline: Deadline): Promise<void> {
    if (this.#connection.isRunning) return;
    const { timers } = this.#parts.runtime;
    this.#timers = [
      timers.every(EVENTS_INTERVAL_MS, () => this.#events.flush(this.#ready)),
      timers.every(USED_INTERVAL_MS, () => this.#flushUsed(), 0.1),
    ];
    this.#connection.start();
  }

  /** Sends one more batch of events, and closes the connection by the deadline. */
  async stop(deadline: Deadline): Promise<void> {
    if (!this.#connection.isRunning) return;
    this.#events.flush(this.#ready);
    this.#flushUsed();
    for (const timer of this.#timers) timer[Symbol.dispose]();
    this.#timers = [];
    await this.#connection.end(this.name, deadline);
  }

  sendListing(listing: Listing): void {
    this.#listings.put(listing);
    this.#flush();
  }

  sendFact(fact: HubEvent): void {
    this.#events.put(fact);
  }

  sendSessionRecord(record: SessionRecord): void {
    if (this.#records.put(record)) this.#flush();
  }

  /**
   * Sends the statuses of all servers of this worker, and its requests, after each change; only the newest report is
   * kept.
   */
  sendStatuses(
    servers: readonly ReportedStatus[],
    requests?: RequestTotals,
    awaitingRestart?: readonly string[],
  ): void {
    this.#statuses = { t: 'statuses', servers, requests, awaitingRestart };
    this.#hasUnsentStatuses = true;
    this.#flush();
  }

  /** Records used keys; sent once a minute. */
  sendUsedKeys(keyIds: readonly string[]): void {
    for (const id of keyIds) this.#used.set(id, true);
  }

  /** Returns the connection, unless control reads too slowly. */
  readonly #ready = (): Socket | undefined => {
    const { socket } = this.#connection;
    return socket && socket.writableLength <= MAX_UNREAD_BYTES ? socket : undefined;
  };

  /** Returns false when the message cannot be sent now; the caller must keep what must not be lost. */
  #send(message: WorkerMessage): boolean {
    return this.#ready()?.write(encodeMessage(message)) !== undefined;
  }

  /** Sends what is unsent on this connection while control keeps reading; continues on `drain`. */
  readonly #flush = (): void => {
    if (this.#hasUnsentStatuses && this.#statuses && this.#send(this.#statuses)) this.#hasUnsentStatuses = false;
    if (this.#listings.pump()) this.#records.flush((record) => this.#send({ t: 'mark', ...record }));
  };

  #flushUsed(): void {
    if (this.#used.size > 0 && this.#send({ t: 'used', keyIds: [...this.#used.keys()] })) this.#used.clear();
  }

  #createInbox(): SnapshotInbox {
    const { limits, current, listing, onSnapshot } = this.#parts;
    return new SnapshotInbox({
      maxBytes: () => limits.snapshotBytes,
      current,
      listing: (server) => this.#listings.get(server) ?? listing?.(server),
      onKnown: (server, digest) => this.#listings.confirm(server, digest),
      requestLists: (server) => void this.#send({ t: 'want', server }),
      onSnapshot: (snapshot) => {
        this.#listings.dropUnconfigured(new Set(snapshot.servers.map(({ slug }) => slug)));
        onSnapshot(snapshot);
      },
    });
  }

  #opened(): void {
    const { slot, life, runtime } = this.#parts;
    const inbox = this.#inbox;
    inbox.reset();
    this.#send({ t: 'hello', slot, pid: process.pid, revision: inbox.revision, life, lists: inbox.listDigests() });
    this.#listings.resendAll();
    this.#records.resendAll();
    this.#hasUnsentStatuses = this.#statuses !== undefined;
    this.#flush();
    runtime.bus.publish({ type: 'control-found' });
  }

  #read(socket: Socket): void {
    const { runtime, limits } = this.#parts;
    socket.on('drain', this.#flush);
    new PacedLineReader(socket, {
      runtime,
      maxBytes: () => limits.snapshotBytes,
      owner: 'control',
      onLine: (line) => {
        const message = parseMessage<ControlMessage>(line);
        if (message) guarded(runtime, this.name, () => this.#receive(message, line.length));
      },
      // An unreadable snapshot is skipped: a new connection would bring the same line.
      onOversized: () =>
        runtime.bus.publish({
          type: 'task-faulted',
          task: this.name,
          fault: 'control sent a line longer than snapshotBytes; it was ignored',
        }),
    });
  }

  #receive(message: ControlMessage, bytes: number): void {
    if (message.t === 'marks') {
      this.#records.confirm(message.marks);
      this.#parts.onSessionRecords(message.marks);
    } else if (message.t === 'relist') this.#parts.onRelist?.();
    else this.#inbox.receive(message, bytes);
  }
}

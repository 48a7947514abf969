/**
 * The worker's end of the relay: receives snapshots, sends events, listings and session records. Control may be unavailable for any time.
 * Guarantees: no `send…` method waits, throws or grows without limit; reconnects for ever with backoff; session records and listings are sent again
 * after each reconnect until control confirms them; the oldest events are dropped first, and counted.
 */
import { connect, type Socket } from 'node:net';
import type { Limits } from '../config/limits.ts';
import type { HubEvent } from '../model/events.ts';
import type { Listing, Snapshot } from '../model/snapshot.ts';
import { backoffMs } from '../runtime/backoff.ts';
import { CappedMap, CappedQueue } from '../runtime/capped.ts';
import type { RequestTotals } from '../runtime/request-counts.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { Service } from '../runtime/service.ts';
import { FairMap } from '../runtime/shares.ts';
import { ListingSender } from './_listing-sender.ts';
import { PacedLineReader } from './_paced-line-reader.ts';
import { SnapshotInbox } from './_snapshot-inbox.ts';
import {
  type ControlMessage,
  encodeFact,
  encodeMessage,
  parseMessage,
  type ReportedStatus,
  type SessionRecord,
  type WorkerMessage,
} from './relay-messages.ts';

const FACTS_INTERVAL_MS = 250;
/** About 2 ms of JSON. */
const FACTS_PER_LINE = 2000;
const FACTS_LINE_CHARS = 512 * 1024;
const USED_INTERVAL_MS = 60_000;
const USED_KEYS = 20_000;
/** Unread bytes to control above which events wait in their queue. */
const MAX_UNREAD_BYTES = 1024 * 1024;
const CONNECT_TIMEOUT_MS = 2000;
/** Control restarts within about 1 s; a longer backoff would delay revocations. */
const BACKOFF = { baseMs: 50, capMs: 1000 } as const;

export interface RelayClient extends Service {
  readonly connected: boolean;
  /** Connects now if not connected, without waiting for the backoff. */
  reconnect(): void;
  sendListing(listing: Listing): void;
  sendFact(fact: HubEvent): void;
  sendSessionRecord(record: SessionRecord): void;
  /** Sends the statuses of all servers of this worker, and its requests, after each change; only the newest report is kept. */
  sendStatuses(servers: readonly ReportedStatus[], requests?: RequestTotals, awaitingRestart?: readonly string[]): void;
  /** Records used keys; sent once a minute. */
  sendUsedKeys(keyIds: readonly string[]): void;
}

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

export function createRelayClient(parts: RelayClientParts): RelayClient {
  const { runtime, limits } = parts;
  const facts = new CappedQueue<HubEvent>('relay.facts', () => limits.factsQueue, 'drop-oldest', runtime.ceilings);
  const listings = new ListingSender({ runtime, limits, ready, onSent: flush });
  const recordBounds = { max: () => limits.tombstones, share: () => limits.tombstonesPerKey };
  const evicts = 'evict-greediest';
  const records = new FairMap<string, SessionRecord>('relay.marks', recordBounds, evicts, runtime.ceilings);
  const used = new CappedMap<string, true>('relay.used', USED_KEYS, 'drop-oldest', runtime.ceilings);
  const timers: Disposable[] = []; // bounded by: the three of start()
  const unsentRecords = new FairMap<string, true>('relay.unsent', recordBounds, evicts, runtime.ceilings);
  let statuses: (WorkerMessage & { t: 'statuses' }) | undefined; // bounded by: the servers of this worker
  let hasUnsentStatuses = false;
  let socket: Socket | undefined;
  let connected = false;
  let failures = 0;
  let dropped = 0;
  let running = false;
  const inbox = new SnapshotInbox({
    maxBytes: () => limits.snapshotBytes,
    current: parts.current,
    listing: (server) => listings.get(server) ?? parts.listing?.(server),
    onKnown: (server, digest) => listings.confirm(server, digest),
    requestLists: (server) => void send({ t: 'want', server }),
    onSnapshot(snapshot) {
      listings.dropUnconfigured(new Set(snapshot.servers.map(({ slug }) => slug)));
      parts.onSnapshot(snapshot);
    },
  });

  /** Returns the connection, unless control reads too slowly. */
  function ready(): Socket | undefined {
    return connected && socket && socket.writableLength <= MAX_UNREAD_BYTES ? socket : undefined;
  }

  /** Returns false when the message cannot be sent now; the caller must keep what must not be lost. */
  function send(message: WorkerMessage): boolean {
    return ready()?.write(encodeMessage(message)) !== undefined;
  }

  /** Sends what is unsent on this connection while control keeps reading; continues on `drain`. */
  function flush(): void {
    if (hasUnsentStatuses && statuses && send(statuses)) hasUnsentStatuses = false;
    if (!listings.pump()) return;
    for (const id of unsentRecords.keys()) {
      const record = records.get(id);
      if (record && !send({ t: 'mark', ...record })) return;
      unsentRecords.delete(id);
    }
  }

  function flushFacts(): void {
    if (dropped > 0) {
      const count = dropped;
      dropped = 0;
      runtime.bus.publish({ type: 'facts-dropped', count });
    }
    const to = facts.size > 0 ? ready() : undefined;
    if (!to) return;
    const texts: string[] = []; // bounded by: FACTS_PER_LINE and FACTS_LINE_CHARS
    for (let length = 0; texts.length < FACTS_PER_LINE && length < FACTS_LINE_CHARS; ) {
      const fact = facts.shift();
      if (!fact) break;
      const text = encodeFact(fact);
      if (text === undefined) dropped += 1;
      else texts.push(text);
      length += text?.length ?? 0;
    }
    if (texts.length > 0) to.write(`{"t":"facts","facts":[${texts.join(',')}]}\n`);
  }

  function flushUsed(): void {
    if (used.size > 0 && send({ t: 'used', keyIds: [...used.keys()] })) used.clear();
  }

  function connectionOpened(): void {
    connected = true;
    failures = 0;
    const { slot, life } = parts;
    inbox.reset();
    send({ t: 'hello', slot, pid: process.pid, revision: inbox.revision, life, lists: inbox.listDigests() });
    listings.resendAll();
    for (const [id, { owner = '' }] of records.entries()) unsentRecords.set(owner, id, true);
    hasUnsentStatuses = statuses !== undefined;
    flush();
    runtime.bus.publish({ type: 'control-found' });
  }

  function receive(message: ControlMessage, bytes: number): void {
    if (message.t === 'marks') {
      // A record changed since then is not confirmed.
      for (const { id, atMs, wishes } of message.marks)
        if (wishes === undefined || atMs >= (records.get(id)?.atMs ?? 0)) records.delete(id);
      parts.onSessionRecords(message.marks);
    } else if (message.t === 'relist') parts.onRelist?.();
    else inbox.receive(message, bytes);
  }

  function openConnection(): void {
    if (!running) return;
    const attempt = connect(parts.socketPath);
    socket = attempt;
    const connectTimer = runtime.timers.after(CONNECT_TIMEOUT_MS, () => {
      if (attempt.connecting) attempt.destroy();
    });
    attempt.on('connect', connectionOpened);
    attempt.on('drain', flush);
    new PacedLineReader(attempt, {
      runtime,
      maxBytes: () => limits.snapshotBytes,
      owner: 'control',
      onLine(line) {
        const message = parseMessage<ControlMessage>(line);
        if (message) guarded(() => receive(message, line.length));
      },
      // An unreadable snapshot is skipped: a new connection would bring the same line.
      onOversized: () =>
        runtime.bus.publish({
          type: 'task-faulted',
          task: 'relay',
          fault: 'control sent a line longer than snapshotBytes; it was ignored',
        }),
    });
    attempt.on('error', () => {});
    attempt.on('close', () => {
      connectTimer[Symbol.dispose]();
      connectionClosed(attempt);
    });
  }

  function connectionClosed(attempt: Socket): void {
    if (socket !== attempt) return;
    socket = undefined;
    const wasConnected = connected;
    connected = false;
    failures += 1;
    if (!running) return;
    if (wasConnected) runtime.bus.publish({ type: 'control-lost', reason: 'the relay connection was closed' });
    runtime.timers.after(backoffMs(failures, BACKOFF, runtime.random), () => {
      if (!socket) openConnection();
    });
  }

  function guarded(work: () => void): void {
    try {
      work();
    } catch (fault) {
      runtime.bus.publish({ type: 'task-faulted', task: 'relay', fault });
    }
  }

  return {
    name: 'relay',
    get connected() {
      return connected;
    },
    reconnect() {
      if (!socket) openConnection();
    },
    async start() {
      if (running) return;
      running = true;
      timers.push(
        runtime.timers.every(FACTS_INTERVAL_MS, flushFacts),
        runtime.timers.every(USED_INTERVAL_MS, flushUsed, 0.1),
      );
      openConnection();
    },
    async stop(deadline) {
      if (!running) return;
      flushFacts();
      flushUsed();
      running = false;
      for (const timer of timers.splice(0)) timer[Symbol.dispose]();
      const closing = socket;
      if (!closing || closing.destroyed) return;
      const closed = new Promise<void>((resolve) => closing.once('close', () => resolve()));
      if (connected) closing.end();
      else closing.destroy();
      try {
        await runtime.waits.for(closed, { label: 'service-stop', owner: 'relay', deadline });
      } catch {
        closing.destroy();
      }
    },
    sendListing(listing) {
      listings.put(listing);
      flush();
    },
    sendFact(fact) {
      if (fact.type === 'facts-dropped' && facts.size >= facts.max) return;
      if (!facts.push(fact)) dropped += 1;
    },
    sendSessionRecord(record) {
      const known = records.get(record.id);
      // A tombstone is final.
      if (known && known.wishes === undefined) return;
      if ((record.wishes?.length ?? 0) > limits.sessionPreferencesBytes) return;
      const { owner = '' } = record;
      records.set(owner, record.id, record);
      unsentRecords.set(owner, record.id, true);
      flush();
    },
    sendStatuses(servers, requests, awaitingRestart) {
      statuses = { t: 'statuses', servers, requests, awaitingRestart };
      hasUnsentStatuses = true;
      flush();
    },
    sendUsedKeys(keyIds) {
      for (const id of keyIds) used.set(id, true);
    },
  };
}

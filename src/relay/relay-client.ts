/**
 * A hub's end of the relay: the world comes in, what happened goes out, and control may be away for as long as it likes.
 * Promises: no `send…` waits, throws or grows without a ceiling; connects again for ever with backoff; what must not be lost (marks of
 * sessions, listings) is told again after each connect until control is known to have it; facts are dropped oldest first and counted.
 * Does not: keep the snapshot (`SnapshotHolder`) or its file (`snapshot-file.ts`).
 */
import { connect, type Socket } from 'node:net';
import type { Limits } from '../config/limits.ts';
import { backoffMs } from '../kernel/backoff.ts';
import { CappedMap, CappedQueue } from '../kernel/capped.ts';
import type { Fact } from '../kernel/facts.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { RequestTotals } from '../kernel/request-counts.ts';
import type { Service } from '../kernel/service.ts';
import { FairMap } from '../kernel/shares.ts';
import type { Listing, Snapshot } from '../kernel/snapshot.ts';
import { ListingSender } from './_listing-sender.ts';
import { PacedLines } from './_paced-line-reader.ts';
import { WorldInbox } from './_snapshot-inbox.ts';
import {
  type ControlWord,
  factText,
  type HubWord,
  lineFrom,
  type ReportedStatus,
  type SessionMark,
  wordFrom,
} from './relay-messages.ts';

const FACTS_EVERY_MS = 250;
/** About 2 ms of JSON a turn. */
const FACTS_A_TURN = 2000;
const FACTS_BYTES = 512 * 1024;
const USED_EVERY_MS = 60_000;
const USED_KEYS = 20_000;
/** Unread bytes towards control above which facts wait in their queue. */
const BACKED_UP_BYTES = 1024 * 1024;
const CONNECT_MS = 2000;
/** Control is back within about a second; a revocation must not wait for a long rest. */
const REST = { baseMs: 50, capMs: 1000 } as const;

export interface RelayClient extends Service {
  readonly connected: boolean;
  /** Control is there: connects now, if it is not connected, instead of after its rest. */
  again(): void;
  sendListing(listing: Listing): void;
  sendFact(fact: Fact): void;
  sendMark(mark: SessionMark): void;
  /** All servers of this hub, at each change, and its requests; only the last report counts. */
  sendStatuses(servers: readonly ReportedStatus[], requests?: RequestTotals): void;
  /** Keys used lately; told once a minute. */
  sendUsed(keyIds: readonly string[]): void;
}

export interface RelayClientParts {
  readonly kernel: Kernel;
  readonly limits: Limits;
  readonly socketPath: string;
  readonly slot: number;
  /** Which process of its slot this is, counted by the supervisor. */
  readonly life: number;
  /** A newer one, or lists and names of the same revision. */
  readonly onSnapshot: (snapshot: Snapshot) => void;
  readonly onMarks: (marks: readonly SessionMark[]) => void;
  /** The lists of all servers are to be read again. */
  readonly onRelist?: () => void;
  /** The world that this hub has (it may come from disk); absent = the last one received here. */
  readonly current?: () => Snapshot;
  /** The newest listing of a server in this hub. */
  readonly listing?: (server: string) => Listing | undefined;
}

export function createRelayClient(parts: RelayClientParts): RelayClient {
  const { kernel, limits } = parts;
  const facts = new CappedQueue<Fact>('relay.facts', limits.factsQueue, 'drop-oldest', kernel.ceilings);
  const listings = new ListingSender({ kernel, limits, ready, told: pump });
  const markBounds = { max: limits.tombstones, share: limits.tombstonesPerKey };
  const evicts = 'evict-greediest';
  const marks = new FairMap<string, SessionMark>('relay.marks', markBounds, evicts, kernel.ceilings);
  const used = new CappedMap<string, true>('relay.used', USED_KEYS, 'drop-oldest', kernel.ceilings);
  const timers: Disposable[] = []; // bounded by: the three of start()
  const unsentMarks = new FairMap<string, true>('relay.unsent', markBounds, evicts, kernel.ceilings);
  let statuses: (HubWord & { t: 'statuses' }) | undefined; // bounded by: the servers of this hub
  let hasUnsentStatuses = false;
  let socket: Socket | undefined;
  let connected = false;
  let failures = 0;
  let dropped = 0;
  let running = false;
  const inbox = new WorldInbox({
    maxBytes: limits.snapshotBytes,
    current: parts.current,
    listing: (server) => listings.get(server) ?? parts.listing?.(server),
    known: (server, digest) => listings.known(server, digest),
    wants: (server) => void say({ t: 'want', server }),
    taken(snapshot) {
      listings.forgetGone(new Set(snapshot.servers.map(({ slug }) => slug)));
      parts.onSnapshot(snapshot);
    },
  });

  /** The connection, unless control is behind with reading. */
  function ready(): Socket | undefined {
    return connected && socket && socket.writableLength <= BACKED_UP_BYTES ? socket : undefined;
  }

  /** False = not now; the caller keeps what must not be lost. */
  function say(word: HubWord): boolean {
    return ready()?.write(lineFrom(word)) !== undefined;
  }

  /** Tells what has not been told on this connection, until control is behind with reading; `drain` goes on. */
  function pump(): void {
    if (hasUnsentStatuses && statuses && say(statuses)) hasUnsentStatuses = false;
    if (!listings.pump()) return;
    for (const id of unsentMarks.keys()) {
      const mark = marks.get(id);
      if (mark && !say({ t: 'mark', ...mark })) return;
      unsentMarks.delete(id);
    }
  }

  function flushFacts(): void {
    if (dropped > 0) {
      const count = dropped;
      dropped = 0;
      kernel.bus.publish({ type: 'facts-dropped', count });
    }
    const to = facts.size > 0 ? ready() : undefined;
    if (!to) return;
    const texts: string[] = []; // bounded by: FACTS_A_TURN and FACTS_BYTES
    for (let length = 0; texts.length < FACTS_A_TURN && length < FACTS_BYTES; ) {
      const fact = facts.shift();
      if (!fact) break;
      const text = factText(fact);
      if (text === undefined) dropped += 1;
      else texts.push(text);
      length += text?.length ?? 0;
    }
    if (texts.length > 0) to.write(`{"t":"facts","facts":[${texts.join(',')}]}\n`);
  }

  function flushUsed(): void {
    if (used.size > 0 && say({ t: 'used', keyIds: [...used.keys()] })) used.clear();
  }

  function opened(): void {
    connected = true;
    failures = 0;
    const { slot, life } = parts;
    inbox.connected();
    say({ t: 'hello', slot, pid: process.pid, revision: inbox.revision, life, lists: inbox.lists() });
    listings.again();
    for (const [id, { owner = '' }] of marks.entries()) unsentMarks.set(owner, id, true);
    hasUnsentStatuses = statuses !== undefined;
    pump();
    kernel.bus.publish({ type: 'control-found' });
  }

  function hear(word: ControlWord, bytes: number): void {
    if (word.t === 'marks') {
      // One that has changed since is not the one that control knows.
      for (const { id, atMs, wishes } of word.marks)
        if (wishes === undefined || atMs >= (marks.get(id)?.atMs ?? 0)) marks.delete(id);
      parts.onMarks(word.marks);
    } else if (word.t === 'relist') parts.onRelist?.();
    else inbox.hear(word, bytes);
  }

  function reach(): void {
    if (!running) return;
    const attempt = connect(parts.socketPath);
    socket = attempt;
    const patience = kernel.timers.after(CONNECT_MS, () => {
      if (attempt.connecting) attempt.destroy();
    });
    attempt.on('connect', opened);
    attempt.on('drain', pump);
    new PacedLines(attempt, {
      ...{ kernel, maxBytes: limits.snapshotBytes, owner: 'control' },
      each(line) {
        const word = wordFrom<ControlWord>(line);
        if (word) guarded(() => hear(word, line.length));
      },
      // A snapshot that cannot be read keeps the one before; a new connection would bring the same line.
      tooLong: () =>
        kernel.bus.publish({ type: 'task-faulted', task: 'relay', fault: 'control sent a line above snapshotBytes' }),
    });
    attempt.on('error', () => {});
    attempt.on('close', () => {
      patience[Symbol.dispose]();
      lost(attempt);
    });
  }

  function lost(attempt: Socket): void {
    if (socket !== attempt) return;
    socket = undefined;
    const wasConnected = connected;
    connected = false;
    failures += 1;
    if (!running) return;
    if (wasConnected) kernel.bus.publish({ type: 'control-lost', reason: 'the relay was closed' });
    kernel.timers.after(backoffMs(failures, REST, kernel.random), () => {
      if (!socket) reach();
    });
  }

  function guarded(work: () => void): void {
    try {
      work();
    } catch (fault) {
      kernel.bus.publish({ type: 'task-faulted', task: 'relay', fault });
    }
  }

  return {
    name: 'relay',
    get connected() {
      return connected;
    },
    again() {
      if (!socket) reach();
    },
    async start() {
      if (running) return;
      running = true;
      timers.push(kernel.timers.every(FACTS_EVERY_MS, flushFacts), kernel.timers.every(USED_EVERY_MS, flushUsed, 0.1));
      reach();
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
        await kernel.waits.for(closed, { label: 'service-stop', owner: 'relay', deadline });
      } catch {
        closing.destroy();
      }
    },
    sendListing(listing) {
      listings.put(listing);
      pump();
    },
    sendFact(fact) {
      if (fact.type === 'facts-dropped' && facts.size >= facts.max) return;
      if (!facts.push(fact)) dropped += 1;
    },
    sendMark(mark) {
      const known = marks.get(mark.id);
      // An end stays an end.
      if (known && known.wishes === undefined) return;
      if ((mark.wishes?.length ?? 0) > limits.sessionPreferencesBytes) return;
      const { owner = '' } = mark;
      marks.set(owner, mark.id, mark);
      unsentMarks.set(owner, mark.id, true);
      pump();
    },
    sendStatuses(servers, requests) {
      statuses = { t: 'statuses', servers, requests };
      hasUnsentStatuses = true;
      pump();
    },
    sendUsed(keyIds) {
      for (const id of keyIds) used.set(id, true);
    },
  };
}

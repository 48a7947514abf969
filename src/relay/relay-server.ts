/**
 * Control's end of the relay: hubs connect to a unix socket, get the world at once and at each change, and tell what happened.
 * Promises: `publish` never waits; a hub is sent only lists that it does not have; one that reads nothing for 5 s is cut (it connects again and
 * gets the newest); a line that is too long is skipped and reported, a hub that says nothing sensible is cut, and the others notice nothing; marks
 * of sessions wait while a hub is behind, and delay no snapshot.
 * Does not: keep what hubs tell; `ears` do.
 */
import { createServer, type Server, type Socket } from 'node:net';
import type { Limits } from '../config/limits.ts';
import { CappedMap } from '../kernel/capped.ts';
import type { CatalogSize } from '../kernel/catalog-size.ts';
import { HubError } from '../kernel/errors.ts';
import type { Fact } from '../kernel/facts.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { RequestTotals } from '../kernel/request-counts.ts';
import type { Service } from '../kernel/service.ts';
import { type Listing, type Snapshot, wholeListing } from '../kernel/snapshot.ts';
import { PacedLines } from './_paced-line-reader.ts';
import { MarkOutbox } from './_session-record-outbox.ts';
import { SnapshotParts } from './_snapshot-parts.ts';
import { HubOutbox } from './_worker-outbox.ts';
import { RowsInbox } from './listing-lines.ts';
import { type HubWord, lineFrom, type ReportedStatus, type SessionMark, wordFrom } from './relay-messages.ts';
import { closeServer, listenOn } from './unix-socket.ts';

const HUBS = 128;
const HELLO_MS = 5000;

/** What control does with what hubs say. Must not throw for long or wait; called in order per hub. */
export interface RelayEars {
  hello(slot: number, pid: number, revision: number): void;
  gone(slot: number): void;
  listing(slot: number, listing: Listing): void;
  facts(slot: number, facts: readonly Fact[]): void;
  mark(mark: SessionMark): void;
  statuses(slot: number, servers: readonly ReportedStatus[], requests?: RequestTotals): void;
  used(keyIds: readonly string[]): void;
  /** Told to a hub that says hello. */
  marks(): readonly SessionMark[];
}

export interface RelayServer extends Service {
  /**
   * To all hubs, and to each that comes later. Returns whose lists do not fit in snapshotBytes and were left out; throws `store-failed` when it is
   * too large even without lists.
   */
  publish(snapshot: Snapshot): readonly CatalogSize[];
  tellMarks(marks: readonly SessionMark[]): void;
  /** All workers that are connected read the lists of their servers again. */
  relist(): void;
}

interface HubLine {
  readonly socket: Socket;
  readonly marks: MarkOutbox;
  readonly rows: RowsInbox;
  readonly outbox: HubOutbox;
  /** Bytes of the rows of a listing that is coming in. */
  rowBytes: number;
  slot: number | undefined;
  /** Set with the slot. */
  hello: (HubWord & { t: 'hello' }) | undefined;
}

export function createRelayServer(parts: {
  readonly kernel: Kernel;
  readonly limits: Limits;
  readonly socketPath: string;
  readonly ears: RelayEars;
}): RelayServer {
  const { kernel, limits, socketPath, ears } = parts;
  const hubs = new CappedMap<Socket, HubLine>('relay.hubs', HUBS, 'refuse', kernel.ceilings);
  const newest = new SnapshotParts(() => limits.snapshotBytes);
  let server: Server | undefined;

  function sendMarks({ socket, marks }: HubLine): void {
    if (!socket.destroyed)
      marks.flush(
        () => socket.writableLength,
        (line) => socket.write(line),
      );
  }

  function report(message: string): void {
    kernel.bus.publish({ type: 'task-faulted', task: 'relay', fault: new HubError('overloaded', { message }) });
  }

  function cut(hub: HubLine, why: string): void {
    report(`hub ${hub.slot ?? '?'} ${why}; it was disconnected`);
    hub.socket.destroy();
  }

  function hear(hub: HubLine, word: HubWord, bytes: number): void {
    if (word.t === 'hello') return welcome(hub, word);
    if (hub.slot === undefined) return cut(hub, 'did not say hello first');
    if (word.t === 'rows') {
      hub.rowBytes += bytes;
      hub.rows.add(word, bytes);
    } else if (word.t === 'want') hub.outbox.wanted(word.server);
    else if (word.t === 'listed') hearListing(hub, hub.slot, word);
    else if (word.t === 'listing') ears.listing(hub.slot, wholeListing(word.listing));
    else if (word.t === 'facts') ears.facts(hub.slot, word.facts);
    else if (word.t === 'mark') ears.mark(markIn(word));
    else if (word.t === 'statuses') {
      // A hub that leaves still has servers; how its slot stands is its heir's to say.
      if (speakerOf(hub.slot) === hub) ears.statuses(hub.slot, word.servers, word.requests);
    } else if (word.t === 'used') ears.used(word.keyIds);
  }

  function hearListing(hub: HubLine, slot: number, word: HubWord & { t: 'listed' }): void {
    const listing = hub.rows.listing(word.version, word);
    const bytes = hub.rowBytes;
    hub.rows.clear();
    hub.rowBytes = 0;
    if (listing) {
      const whole = wholeListing(listing);
      newest.sized(whole, bytes);
      hub.outbox.told(whole.server, whole);
      ears.listing(slot, whole);
    } else report(`hub ${slot} sent a listing of ${word.listing.server} that is not whole; it was ignored`);
  }

  function welcome(hub: HubLine, word: HubWord & { t: 'hello' }): void {
    // A process that connects again may still have its old connection open.
    for (const other of hubs.values())
      if (other !== hub && other.slot === word.slot && other.hello?.pid === word.pid) other.socket.destroy();
    hub.slot = word.slot;
    hub.hello = word;
    for (const [server, digest] of Object.entries(word.lists ?? {})) hub.outbox.told(server, { digest, atMs: 0 });
    if (speakerOf(word.slot) === hub) ears.hello(word.slot, word.pid, word.revision);
    hub.marks.add(ears.marks());
    sendMarks(hub);
    hub.outbox.update();
  }

  /** The newest of the processes that hold a slot. */
  function speakerOf(slot: number): HubLine | undefined {
    let speaker: HubLine | undefined;
    for (const hub of hubs.values())
      if (hub.slot === slot && hub.hello && hub.hello.life >= (speaker?.hello?.life ?? 0)) speaker = hub;
    return speaker;
  }

  function speakerGone(slot: number): void {
    const next = speakerOf(slot)?.hello;
    if (next) ears.hello(slot, next.pid, next.revision);
    else ears.gone(slot);
  }

  function accept(socket: Socket): void {
    if (hubs.size >= hubs.max) return void socket.destroy();
    const giveUp = (): void => cut(hub, 'does not read');
    const hub: HubLine = {
      socket,
      outbox: new HubOutbox({ kernel, socket, snapshot: newest, giveUp }),
      rowBytes: 0,
      marks: new MarkOutbox(limits.tombstones, kernel.ceilings),
      rows: new RowsInbox(limits.snapshotBytes),
      slot: undefined,
      hello: undefined,
    };
    hubs.set(socket, hub);
    const patience = kernel.timers.after(HELLO_MS, () => {
      if (hub.slot === undefined) cut(hub, 'did not say hello');
    });
    new PacedLines(socket, {
      ...{ kernel, maxBytes: limits.snapshotBytes, owner: 'a worker' },
      each(line) {
        const word = wordFrom<HubWord>(line);
        if (!word) cut(hub, 'said something that is no word');
        else if (!socket.destroyed) guarded(() => hear(hub, word, line.length));
      },
      tooLong: () => report(`hub ${hub.slot ?? '?'} sent a line above snapshotBytes; it was ignored`),
    });
    socket.on('drain', () => sendMarks(hub));
    socket.on('error', () => {});
    socket.on('close', () => {
      patience[Symbol.dispose]();
      const { slot } = hub;
      const wasSpeaker = slot !== undefined && speakerOf(slot) === hub;
      hubs.delete(socket);
      hub.marks[Symbol.dispose]();
      if (wasSpeaker) guarded(() => speakerGone(slot));
    });
  }

  /** What one hub says must not end the process for all. */
  function guarded(work: () => void): void {
    try {
      work();
    } catch (fault) {
      kernel.bus.publish({ type: 'task-faulted', task: 'relay', fault });
    }
  }

  return {
    name: 'relay',
    async start(deadline) {
      if (server) return;
      const made = createServer(accept);
      await kernel.waits.for(listenOn(made, socketPath), { label: 'service-start', owner: 'relay', deadline });
      server = made;
    },
    async stop(deadline) {
      const stopping = server;
      server = undefined;
      if (!stopping) return;
      for (const hub of [...hubs.values()]) hub.socket.destroy();
      await closeServer(stopping, { kernel, owner: 'relay' }, deadline);
    },
    publish(snapshot) {
      const leftOut = newest.take(snapshot);
      for (const hub of [...hubs.values()]) if (hub.slot !== undefined) hub.outbox.update();
      return leftOut;
    },
    relist() {
      for (const { slot, socket } of [...hubs.values()])
        if (slot !== undefined && socket.writable) socket.write(lineFrom({ t: 'relist' }));
    },
    tellMarks(marks) {
      for (const hub of [...hubs.values()]) {
        if (hub.slot === undefined) continue;
        hub.marks.add(marks);
        sendMarks(hub);
      }
    },
  };
}

function markIn({ id, atMs, wishes, owner }: SessionMark): SessionMark {
  return { id, atMs, wishes, ...(owner === undefined ? {} : { owner }) };
}

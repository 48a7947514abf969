/**
 * The connection of one worker at control: what it has received, and what waits to be sent to it.
 * Guarantees: a worker that sends an invalid message, or no hello within 5 s, is disconnected; an oversized line is
 * skipped and reported; session records never delay a snapshot.
 */
import type { Socket } from 'node:net';
import type { Limits } from '../config/limits.ts';
import { HubError } from '../model/errors.ts';
import { type Listing, wholeListing } from '../model/snapshot.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { guarded } from './_guarded.ts';
import { PacedLineReader } from './_paced-line-reader.ts';
import { SessionRecordOutbox } from './_session-record-outbox.ts';
import type { SnapshotParts } from './_snapshot-parts.ts';
import { WorkerOutbox } from './_worker-outbox.ts';
import { RowsInbox } from './listing-lines.ts';
import { encodeMessage, parseMessage, type SessionRecord, type WorkerMessage } from './relay-messages.ts';

const HELLO_TIMEOUT_MS = 5000;

type Hello = WorkerMessage & { t: 'hello' };

interface WorkerConnectionParts {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly socket: Socket;
  readonly snapshot: SnapshotParts;
  /** Called with each valid message and its length in bytes. What it throws is published. */
  readonly received: (connection: WorkerConnection, message: WorkerMessage, bytes: number) => void;
  readonly closed: (connection: WorkerConnection) => void;
}

export class WorkerConnection {
  readonly #parts: WorkerConnectionParts;
  readonly #records: SessionRecordOutbox;
  readonly #rows: RowsInbox;
  readonly #outbox: WorkerOutbox;
  readonly #helloTimer: Disposable;
  /** Bytes of the rows received so far of the current listing. */
  #rowBytes = 0;
  #hello: Hello | undefined;

  constructor(parts: WorkerConnectionParts) {
    const { runtime, limits, socket, snapshot, closed } = parts;
    this.#parts = parts;
    this.#records = new SessionRecordOutbox(() => limits.tombstones, runtime.ceilings);
    this.#rows = new RowsInbox(() => limits.snapshotBytes);
    const disconnect = (): void => this.disconnect('reads nothing');
    this.#outbox = new WorkerOutbox({ runtime, socket, snapshot, disconnect });
    this.#helloTimer = runtime.timers.after(HELLO_TIMEOUT_MS, () => {
      if (!this.#hello) this.disconnect(`sent no hello within ${HELLO_TIMEOUT_MS} ms`);
    });
    this.#read();
    socket.on('drain', () => this.#flushRecords());
    socket.on('error', () => {});
    socket.on('close', () => {
      this.#helloTimer[Symbol.dispose]();
      closed(this);
      this.#records[Symbol.dispose]();
    });
  }

  /** What the worker has said of itself; undefined = nothing yet. */
  get hello(): Hello | undefined {
    return this.#hello;
  }

  get slot(): number | undefined {
    return this.#hello?.slot;
  }

  destroy(): void {
    this.#parts.socket.destroy();
  }

  /** Ends the connection; the log says that the worker `reason`. */
  disconnect(reason: string): void {
    this.#report(`worker ${this.slot ?? '?'} ${reason}; disconnected`);
    this.destroy();
  }

  /** Records what the worker has. */
  greet(hello: Hello): void {
    this.#hello = hello;
    for (const [server, digest] of Object.entries(hello.lists ?? {}))
      this.#outbox.setKnown(server, { digest, atMs: 0 });
  }

  /** Starts sending what is new in the snapshot. */
  sendSnapshot(): void {
    this.#outbox.update();
  }

  /** Sends the lists of a server again. */
  resend(server: string): void {
    this.#outbox.resend(server);
  }

  sendRecords(records: readonly SessionRecord[]): void {
    this.#records.add(records);
    this.#flushRecords();
  }

  /** Makes the worker read the lists of its servers again. */
  relist(): void {
    const { socket } = this.#parts;
    if (socket.writable) socket.write(encodeMessage({ t: 'relist' }));
  }

  addRows(message: WorkerMessage & { t: 'rows' }, bytes: number): void {
    this.#rowBytes += bytes;
    this.#rows.add(message, bytes);
  }

  /** Returns the listing that this message completes; undefined = rows of it are missing, which is reported. */
  completeListing(message: WorkerMessage & { t: 'listed' }): Listing | undefined {
    const listing = this.#rows.listing(message.version, message);
    const bytes = this.#rowBytes;
    this.#rows.clear();
    this.#rowBytes = 0;
    if (!listing) {
      this.#report(`worker ${this.slot} sent an incomplete listing of ${message.listing.server}; it was ignored`);
      return undefined;
    }
    const whole = wholeListing(listing);
    this.#parts.snapshot.recordSize(whole, bytes);
    this.#outbox.setKnown(whole.server, whole);
    return whole;
  }

  #read(): void {
    const { runtime, limits, socket, received } = this.#parts;
    new PacedLineReader(socket, {
      runtime,
      maxBytes: () => limits.snapshotBytes,
      owner: 'a worker',
      onLine: (line) => {
        const message = parseMessage<WorkerMessage>(line);
        if (!message) this.disconnect('sent an invalid message');
        else if (!socket.destroyed) guarded(runtime, 'relay', () => received(this, message, line.length));
      },
      onOversized: () =>
        this.#report(`worker ${this.slot ?? '?'} sent a line longer than snapshotBytes; it was ignored`),
    });
  }

  #flushRecords(): void {
    const { socket } = this.#parts;
    if (socket.destroyed) return;
    this.#records.flush(
      () => socket.writableLength,
      (line) => socket.write(line),
    );
  }

  #report(message: string): void {
    const fault = new HubError('overloaded', { message });
    this.#parts.runtime.bus.publish({ type: 'task-faulted', task: 'relay', fault });
  }
}

/**
 * Control's end of the keys connection: sends all valid keys to workers at once and at each change, and receives their
 * confirmations.
 * Guarantees: `publish` never waits; at most one unsent frame, the newest, waits for a slow worker; `awaitConfirmation`
 * ends by its deadline and returns each worker that has not confirmed.
 */
import { createServer, type Server, type Socket } from 'node:net';
import type { Limits } from '../config/limits.ts';
import { CappedMap } from '../runtime/capped.ts';
import type { Deadline } from '../runtime/deadline.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { Service } from '../runtime/service.ts';
import { LineSplitter } from './_line-splitter.ts';
import type { AppliedRevisions, KeysFrame, KeysWorkerMessage } from './keys-messages.ts';
import { parseMessage } from './relay-messages.ts';
import { closeServer, listenOn } from './unix-socket.ts';

const MAX_WORKERS = 128;
const ALIVE_INTERVAL_MS = 1000;
const MAX_MESSAGE_BYTES = 4096;
const ALIVE = Buffer.from('{"t":"alive"}\n');

/** A worker that has not confirmed, and the known reason. */
export interface Unconfirmed {
  readonly hub: number;
  readonly message: string;
}

export interface WorkerKeys extends AppliedRevisions {
  readonly slot: number;
  readonly pid: number;
}

interface WorkerConnection {
  readonly socket: Socket;
  /** Undefined until `hello` has arrived. */
  worker: WorkerKeys | undefined;
  /** A newer frame is sent after the worker has read the last one. */
  isBehind: boolean;
}

export interface KeysServerParts {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly socketPath: string;
  /** Called with the highest revision of a worker; it may be above ours. */
  readonly onRevisionSeen: (revision: number) => void;
}

export class KeysServer implements Service {
  readonly name = 'keys';
  readonly #parts: KeysServerParts;
  readonly #connections: CappedMap<Socket, WorkerConnection>;
  readonly #waiting = new Set<() => void>(); // bounded by: requests to the admin API
  /** The newest keys, encoded. */
  #frame: Buffer | undefined;
  #server: Server | undefined;
  #alive: Disposable | undefined;

  constructor(parts: KeysServerParts) {
    this.#parts = parts;
    this.#connections = new CappedMap('relay.keys-workers', MAX_WORKERS, 'refuse', parts.runtime.ceilings);
  }

  async start(deadline: Deadline): Promise<void> {
    if (this.#server) return;
    const { runtime, socketPath } = this.#parts;
    const server = createServer((socket) => this.#accept(socket));
    await runtime.waits.for(listenOn(server, socketPath), { label: 'service-start', owner: this.name, deadline });
    this.#server = server;
    this.#alive = runtime.timers.every(ALIVE_INTERVAL_MS, () => {
      for (const { socket } of this.#connections.values()) if (socket.writableLength === 0) socket.write(ALIVE);
    });
  }

  async stop(deadline: Deadline): Promise<void> {
    this.#alive?.[Symbol.dispose]();
    const server = this.#server;
    this.#server = undefined;
    if (!server) return;
    for (const socket of [...this.#connections.keys()]) socket.destroy();
    await closeServer(server, { runtime: this.#parts.runtime, owner: this.name }, deadline);
  }

  /** Sends to all workers, and to each that connects later. */
  publish(frame: KeysFrame): void {
    this.#frame = Buffer.from(`${JSON.stringify({ t: 'keys', ...frame })}\n`);
    for (const connection of this.#connections.values()) if (connection.worker) this.#send(connection);
  }

  /** Returns the connected worker processes. */
  workers(): readonly WorkerKeys[] {
    return [...this.#connections.values()].flatMap(({ worker }) => worker ?? []);
  }

  /**
   * Waits until workers 1 to `workerCount` have applied `want`, or until the deadline. Returns those that have not.
   * Never rejects.
   */
  async awaitConfirmation(
    want: AppliedRevisions,
    workerCount: number,
    deadline: Deadline,
  ): Promise<readonly Unconfirmed[]> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const check = (): void => {
      if (unconfirmed(this.workers(), want, workerCount).length === 0) resolve();
    };
    this.#waiting.add(check);
    check();
    try {
      const owner = `keys revision ${want.keysRevision}`;
      await this.#parts.runtime.waits.for(promise, { label: 'keys-confirm', owner, deadline });
    } catch {
      // Deadline reached: the result contains those that are missing.
    } finally {
      this.#waiting.delete(check);
    }
    return unconfirmed(this.workers(), want, workerCount);
  }

  #accept(socket: Socket): void {
    const connection: WorkerConnection = { socket, worker: undefined, isBehind: false };
    if (!this.#connections.set(socket, connection)) return void socket.destroy();
    const reader = new LineSplitter(() => MAX_MESSAGE_BYTES);
    socket.on('data', (chunk) => {
      reader.push(chunk, (text) => {
        const message = parseMessage<KeysWorkerMessage>(text);
        if (message) this.#receive(connection, message);
      });
    });
    socket.on('drain', () => {
      if (connection.isBehind) this.#send(connection);
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      this.#connections.delete(socket);
      this.#checkWaiting();
    });
  }

  #receive(from: WorkerConnection, message: KeysWorkerMessage): void {
    const { t, keysRevision, revision } = message;
    // A worker of another version may send other types.
    if (t !== 'hello' && t !== 'applied') return;
    const figures = [keysRevision, revision, ...(t === 'hello' ? [message.slot, message.pid] : [])];
    if (!figures.every(Number.isSafeInteger)) return void from.socket.destroy();
    if (t === 'hello') {
      const { slot, pid } = message;
      from.worker = { slot, pid, keysRevision, revision };
      this.#parts.onRevisionSeen(Math.max(keysRevision, revision));
      this.#send(from);
    } else if (from.worker) from.worker = { ...from.worker, keysRevision, revision };
    this.#checkWaiting();
  }

  #send(to: WorkerConnection): void {
    if (!this.#frame || to.socket.destroyed) return;
    to.isBehind = to.socket.writableLength > 0;
    if (!to.isBehind) to.socket.write(this.#frame);
  }

  #checkWaiting(): void {
    for (const check of [...this.#waiting]) check();
  }
}

/** Returns those of workers 1 to `workerCount`, and of other connected ones, that have not applied `want`. */
function unconfirmed(
  connected: readonly WorkerKeys[],
  want: AppliedRevisions,
  workerCount: number,
): readonly Unconfirmed[] {
  const behind = connected
    .filter(({ keysRevision, revision }) => keysRevision < want.keysRevision || revision < want.revision)
    .map(({ slot, pid }) => ({ hub: slot, message: `worker ${slot} (pid ${pid}) has not confirmed` }));
  const absent = Array.from({ length: workerCount }, (_, at) => at + 1)
    .filter((slot) => !connected.some((one) => one.slot === slot))
    .map((slot) => ({ hub: slot, message: `worker ${slot} is not connected to the control process` }));
  return [...behind, ...absent];
}

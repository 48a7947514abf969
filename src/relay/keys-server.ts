/**
 * Control's end of the keys connection: sends all valid keys to workers at once and at each change, and receives their confirmations.
 * Guarantees: `publish` never waits; at most one unsent frame, the newest, waits for a slow worker; `awaitConfirmation` ends by its deadline and
 * returns each worker that has not confirmed.
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

export interface KeysServer extends Service {
  /** Sends to all workers, and to each that connects later. */
  publish(frame: KeysFrame): void;
  /** Waits until workers 1 to `workerCount` have applied `want`, or until the deadline. Returns those that have not. Never rejects. */
  awaitConfirmation(want: AppliedRevisions, workerCount: number, deadline: Deadline): Promise<readonly Unconfirmed[]>;
  /** Returns the connected worker processes. */
  workers(): readonly WorkerKeys[];
}

interface WorkerConnection {
  readonly socket: Socket;
  /** Undefined until `hello` has arrived. */
  worker: WorkerKeys | undefined;
  /** A newer frame is sent after the worker has read the last one. */
  isBehind: boolean;
}

export function createKeysServer(parts: {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly socketPath: string;
  /** Called with the highest revision of a worker; it may be above ours. */
  readonly onRevisionSeen: (revision: number) => void;
}): KeysServer {
  const { runtime, socketPath, onRevisionSeen } = parts;
  const connections = new CappedMap<Socket, WorkerConnection>(
    'relay.keys-workers',
    MAX_WORKERS,
    'refuse',
    runtime.ceilings,
  );
  const waiting = new Set<() => void>(); // bounded by: requests to the admin API
  let frame: Buffer | undefined;
  let server: Server | undefined;
  let alive: Disposable | undefined;

  function send(line: WorkerConnection): void {
    if (!frame || line.socket.destroyed) return;
    line.isBehind = line.socket.writableLength > 0;
    if (!line.isBehind) line.socket.write(frame);
  }

  function receive(line: WorkerConnection, message: KeysWorkerMessage): void {
    if (message.t === 'hello') {
      const { slot, pid, keysRevision, revision } = message;
      line.worker = { slot, pid, keysRevision, revision };
      onRevisionSeen(Math.max(keysRevision, revision));
      send(line);
    } else if (message.t === 'applied' && line.worker) {
      const { keysRevision, revision } = message;
      line.worker = { ...line.worker, keysRevision, revision };
    }
    checkWaiting();
  }

  function checkWaiting(): void {
    for (const check of [...waiting]) check();
  }

  function accept(socket: Socket): void {
    const line: WorkerConnection = { socket, worker: undefined, isBehind: false };
    if (!connections.set(socket, line)) return void socket.destroy();
    const reader = new LineSplitter(() => MAX_MESSAGE_BYTES);
    socket.on('data', (chunk) => {
      reader.push(chunk, (text) => {
        const message = parseMessage<KeysWorkerMessage>(text);
        if (message) receive(line, message);
      });
    });
    socket.on('drain', () => {
      if (line.isBehind) send(line);
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      connections.delete(socket);
      checkWaiting();
    });
  }

  function workers(): WorkerKeys[] {
    return [...connections.values()].flatMap(({ worker }) => worker ?? []);
  }

  function missing(want: AppliedRevisions, workerCount: number): Unconfirmed[] {
    const found: Unconfirmed[] = []; // bounded by: MAX_WORKERS and workerCount
    const connected = workers();
    for (const { slot, pid, keysRevision, revision } of connected)
      if (keysRevision < want.keysRevision || revision < want.revision)
        found.push({ hub: slot, message: `worker ${slot} (pid ${pid}) has not confirmed` });
    for (let slot = 1; slot <= workerCount; slot += 1)
      if (!connected.some((one) => one.slot === slot))
        found.push({ hub: slot, message: `worker ${slot} is not connected to the control process` });
    return found;
  }

  return {
    name: 'keys',
    async start(deadline) {
      if (server) return;
      const made = createServer(accept);
      await runtime.waits.for(listenOn(made, socketPath), { label: 'service-start', owner: 'keys', deadline });
      server = made;
      alive = runtime.timers.every(ALIVE_INTERVAL_MS, () => {
        for (const { socket } of connections.values()) if (socket.writableLength === 0) socket.write(ALIVE);
      });
    },
    async stop(deadline) {
      alive?.[Symbol.dispose]();
      const stopping = server;
      server = undefined;
      if (!stopping) return;
      for (const socket of [...connections.keys()]) socket.destroy();
      await closeServer(stopping, { runtime, owner: 'relay' }, deadline);
    },
    publish(next) {
      frame = Buffer.from(`${JSON.stringify({ t: 'keys', ...next })}\n`);
      for (const line of connections.values()) if (line.worker) send(line);
    },
    async awaitConfirmation(want, workerCount, deadline) {
      let stop = () => {};
      const done = new Promise<void>((resolve) => {
        const check = (): void => {
          if (missing(want, workerCount).length === 0) resolve();
        };
        waiting.add(check);
        stop = () => waiting.delete(check);
        check();
      });
      try {
        await runtime.waits.for(done, { label: 'keys-confirm', owner: `keys revision ${want.keysRevision}`, deadline });
      } catch {
        // Deadline reached: the result contains those that are missing.
      } finally {
        stop();
      }
      return missing(want, workerCount);
    },
    workers,
  };
}

/**
 * Control's end of the keys connection: workers get all valid keys at once and at each change, and confirm what they have applied.
 * Guarantees: `publish` never waits; a worker that does not read has at most one unsent frame, the newest; `confirmed` ends by its deadline and
 * names each worker that has not confirmed.
 */
import { createServer, type Server, type Socket } from 'node:net';
import type { Limits } from '../config/limits.ts';
import { CappedMap } from '../kernel/capped.ts';
import type { Deadline } from '../kernel/deadline.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { Service } from '../kernel/service.ts';
import { Lines } from './_line-splitter.ts';
import type { Applied, KeysFrame, WorkerWord } from './keys-messages.ts';
import { wordFrom } from './relay-messages.ts';
import { closeServer, listenOn } from './unix-socket.ts';

const WORKERS = 128;
const ALIVE_MS = 1000;
const WORD_BYTES = 4096;
const ALIVE = Buffer.from('{"t":"alive"}\n');

/** A worker that has not confirmed, and why as far as it is known. */
export interface Unconfirmed {
  readonly hub: number;
  readonly message: string;
}

export interface WorkerKeys extends Applied {
  readonly slot: number;
  readonly pid: number;
}

export interface KeysServer extends Service {
  /** Sends to all workers, and to each that connects later. */
  publish(frame: KeysFrame): void;
  /** Resolves when the workers of slots 1 to `hubs` have applied `want`, or at the deadline; the answer names those that have not. Never rejects. */
  confirmed(want: Applied, hubs: number, deadline: Deadline): Promise<readonly Unconfirmed[]>;
  /** Connected worker processes. */
  workers(): readonly WorkerKeys[];
}

interface WorkerLine {
  readonly socket: Socket;
  /** Undefined until it has said hello. */
  worker: WorkerKeys | undefined;
  /** A newer frame waits until it has read the last one. */
  isBehind: boolean;
}

export function createKeysServer(parts: {
  readonly kernel: Kernel;
  readonly limits: Limits;
  readonly socketPath: string;
  /** A worker has these revisions; they may be higher than ours. */
  readonly seen: (revision: number) => void;
}): KeysServer {
  const { kernel, socketPath, seen } = parts;
  const lines = new CappedMap<Socket, WorkerLine>('relay.keys-workers', WORKERS, 'refuse', kernel.ceilings);
  const waiting = new Set<() => void>(); // bounded by: requests to the admin API
  let frame: Buffer | undefined;
  let server: Server | undefined;
  let alive: Disposable | undefined;

  function send(line: WorkerLine): void {
    if (!frame || line.socket.destroyed) return;
    line.isBehind = line.socket.writableLength > 0;
    if (!line.isBehind) line.socket.write(frame);
  }

  function hear(line: WorkerLine, word: WorkerWord): void {
    if (word.t === 'hello') {
      const { slot, pid, keysRevision, revision } = word;
      line.worker = { slot, pid, keysRevision, revision };
      seen(Math.max(keysRevision, revision));
      send(line);
    } else if (word.t === 'applied' && line.worker) {
      const { keysRevision, revision } = word;
      line.worker = { ...line.worker, keysRevision, revision };
    }
    look();
  }

  function look(): void {
    for (const check of [...waiting]) check();
  }

  function accept(socket: Socket): void {
    const line: WorkerLine = { socket, worker: undefined, isBehind: false };
    if (!lines.set(socket, line)) return void socket.destroy();
    const reader = new Lines(WORD_BYTES);
    socket.on('data', (chunk) => {
      reader.take(chunk, (text) => {
        const word = wordFrom<WorkerWord>(text);
        if (word) hear(line, word);
      });
    });
    socket.on('drain', () => {
      if (line.isBehind) send(line);
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      lines.delete(socket);
      look();
    });
  }

  function workers(): WorkerKeys[] {
    return [...lines.values()].flatMap(({ worker }) => worker ?? []);
  }

  function missing(want: Applied, hubs: number): Unconfirmed[] {
    const found: Unconfirmed[] = []; // bounded by: WORKERS and hubs
    const connected = workers();
    for (const { slot, pid, keysRevision, revision } of connected)
      if (keysRevision < want.keysRevision || revision < want.revision)
        found.push({ hub: slot, message: `worker ${slot} (pid ${pid}) has not confirmed` });
    for (let slot = 1; slot <= hubs; slot += 1)
      if (!connected.some((one) => one.slot === slot))
        found.push({ hub: slot, message: `worker ${slot} is not connected to the control process` });
    return found;
  }

  return {
    name: 'keys',
    async start(deadline) {
      if (server) return;
      const made = createServer(accept);
      await kernel.waits.for(listenOn(made, socketPath), { label: 'service-start', owner: 'keys', deadline });
      server = made;
      alive = kernel.timers.every(ALIVE_MS, () => {
        for (const { socket } of lines.values()) if (socket.writableLength === 0) socket.write(ALIVE);
      });
    },
    async stop(deadline) {
      alive?.[Symbol.dispose]();
      const stopping = server;
      server = undefined;
      if (!stopping) return;
      for (const socket of [...lines.keys()]) socket.destroy();
      await closeServer(stopping, { kernel, owner: 'relay' }, deadline);
    },
    publish(next) {
      frame = Buffer.from(`${JSON.stringify({ t: 'keys', ...next })}\n`);
      for (const line of lines.values()) if (line.worker) send(line);
    },
    async confirmed(want, hubs, deadline) {
      let stop = () => {};
      const done = new Promise<void>((resolve) => {
        const check = (): void => {
          if (missing(want, hubs).length === 0) resolve();
        };
        waiting.add(check);
        stop = () => waiting.delete(check);
        check();
      });
      try {
        await kernel.waits.for(done, { label: 'keys-confirm', owner: `keys revision ${want.keysRevision}`, deadline });
      } catch {
        // Time is up: the answer says who is missing.
      } finally {
        stop();
      }
      return missing(want, hubs);
    },
    workers,
  };
}

/**
 * The worker's end of the keys connection: receives keys and confirms the applied revisions.
 * Guarantees: reconnects for ever with backoff, within about 1 s after control is available; keys older than those of the worker are confirmed but
 * not applied.
 */
import { connect, type Socket } from 'node:net';
import type { Limits } from '../config/limits.ts';
import { backoffMs } from '../runtime/backoff.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { Service } from '../runtime/service.ts';
import { LineSplitter } from './_line-splitter.ts';
import type { AppliedRevisions, KeysFrame, KeysMessage, KeysWorkerMessage } from './keys-messages.ts';
import { parseMessage } from './relay-messages.ts';

const CONNECT_TIMEOUT_MS = 2000;
const BACKOFF = { baseMs: 50, capMs: 1000 } as const;

export interface KeysClient extends Service {
  /** Connects now if not connected, without waiting for the backoff. */
  reconnect(): void;
  /** Confirms the revisions applied since. */
  confirm(): void;
  /** Time since control last sent or confirmed the keys, ms; undefined = never in this process. */
  readonly ageMs: number | undefined;
}

export function createKeysClient(parts: {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly socketPath: string;
  readonly slot: number;
  readonly applied: () => AppliedRevisions;
  readonly onKeys: (frame: KeysFrame) => void;
}): KeysClient {
  const { runtime, limits, applied } = parts;
  let socket: Socket | undefined;
  let isConnected = false;
  let isRunning = false;
  let failures = 0;
  let receivedMs: number | undefined;

  function send(message: KeysWorkerMessage): void {
    if (isConnected) socket?.write(`${JSON.stringify(message)}\n`);
  }

  function confirm(): void {
    send({ t: 'applied', ...applied() });
  }

  function receive(message: KeysMessage): void {
    receivedMs = runtime.clock.nowMs();
    if (message.t !== 'keys') return;
    parts.onKeys({ keysRevision: message.keysRevision, keys: message.keys });
    confirm();
  }

  function openConnection(): void {
    if (!isRunning || socket) return;
    const attempt = connect(parts.socketPath);
    socket = attempt;
    const lines = new LineSplitter(() => limits.snapshotBytes);
    const connectTimer = runtime.timers.after(CONNECT_TIMEOUT_MS, () => {
      if (attempt.connecting) attempt.destroy();
    });
    attempt.on('connect', () => {
      isConnected = true;
      failures = 0;
      send({ t: 'hello', slot: parts.slot, pid: process.pid, ...applied() });
    });
    attempt.on('data', (chunk) => {
      const tooLong = lines.push(chunk, (text) => {
        const message = parseMessage<KeysMessage>(text);
        if (message) guarded(() => receive(message));
      });
      if (tooLong > 0)
        runtime.bus.publish({
          type: 'task-faulted',
          task: 'keys',
          fault: 'control sent keys longer than snapshotBytes; they were ignored',
        });
    });
    attempt.on('error', () => {});
    attempt.on('close', () => {
      connectTimer[Symbol.dispose]();
      socket = undefined;
      isConnected = false;
      failures += 1;
      if (isRunning) runtime.timers.after(backoffMs(failures, BACKOFF, runtime.random), openConnection);
    });
  }

  function guarded(work: () => void): void {
    try {
      work();
    } catch (fault) {
      runtime.bus.publish({ type: 'task-faulted', task: 'keys', fault });
    }
  }

  return {
    name: 'keys',
    reconnect: openConnection,
    confirm,
    get ageMs() {
      return receivedMs === undefined ? undefined : Math.round(runtime.clock.nowMs() - receivedMs);
    },
    async start() {
      isRunning = true;
      openConnection();
    },
    async stop() {
      isRunning = false;
      socket?.destroy();
    },
  };
}

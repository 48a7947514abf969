/**
 * A worker's end of the keys connection: newer keys come in, and what has been applied is confirmed.
 * Guarantees: connects again for ever with backoff, within about a second of control being there; a frame that is older than what the worker has is
 * confirmed but not applied.
 */
import { connect, type Socket } from 'node:net';
import type { Limits } from '../config/limits.ts';
import { backoffMs } from '../kernel/backoff.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { Service } from '../kernel/service.ts';
import { Lines } from './_line-splitter.ts';
import type { Applied, KeysFrame, KeysWord, WorkerWord } from './keys-messages.ts';
import { wordFrom } from './relay-messages.ts';

const CONNECT_MS = 2000;
const REST = { baseMs: 50, capMs: 1000 } as const;

export interface KeysClient extends Service {
  /** Connects now, if it is not connected, instead of after its backoff. */
  again(): void;
  /** Confirms what has been applied since. */
  confirm(): void;
  /** How long ago control last said that the keys here are the newest, ms; undefined = never in this process. */
  readonly ageMs: number | undefined;
}

export function createKeysClient(parts: {
  readonly kernel: Kernel;
  readonly limits: Limits;
  readonly socketPath: string;
  readonly slot: number;
  readonly applied: () => Applied;
  readonly onKeys: (frame: KeysFrame) => void;
}): KeysClient {
  const { kernel, limits, applied } = parts;
  let socket: Socket | undefined;
  let isConnected = false;
  let isRunning = false;
  let failures = 0;
  let heardMs: number | undefined;

  function say(word: WorkerWord): void {
    if (isConnected) socket?.write(`${JSON.stringify(word)}\n`);
  }

  function confirm(): void {
    say({ t: 'applied', ...applied() });
  }

  function hear(word: KeysWord): void {
    heardMs = kernel.clock.nowMs();
    if (word.t !== 'keys') return;
    parts.onKeys({ keysRevision: word.keysRevision, keys: word.keys });
    confirm();
  }

  function reach(): void {
    if (!isRunning || socket) return;
    const attempt = connect(parts.socketPath);
    socket = attempt;
    const lines = new Lines(limits.snapshotBytes);
    const patience = kernel.timers.after(CONNECT_MS, () => {
      if (attempt.connecting) attempt.destroy();
    });
    attempt.on('connect', () => {
      isConnected = true;
      failures = 0;
      say({ t: 'hello', slot: parts.slot, pid: process.pid, ...applied() });
    });
    attempt.on('data', (chunk) => {
      const tooLong = lines.take(chunk, (text) => {
        const word = wordFrom<KeysWord>(text);
        if (word) guarded(() => hear(word));
      });
      if (tooLong > 0) kernel.bus.publish({ type: 'task-faulted', task: 'keys', fault: 'keys above snapshotBytes' });
    });
    attempt.on('error', () => {});
    attempt.on('close', () => {
      patience[Symbol.dispose]();
      socket = undefined;
      isConnected = false;
      failures += 1;
      if (isRunning) kernel.timers.after(backoffMs(failures, REST, kernel.random), reach);
    });
  }

  function guarded(work: () => void): void {
    try {
      work();
    } catch (fault) {
      kernel.bus.publish({ type: 'task-faulted', task: 'keys', fault });
    }
  }

  return {
    name: 'keys',
    again: reach,
    confirm,
    get ageMs() {
      return heardMs === undefined ? undefined : Math.round(kernel.clock.nowMs() - heardMs);
    },
    async start() {
      isRunning = true;
      reach();
    },
    async stop() {
      isRunning = false;
      socket?.destroy();
    },
  };
}

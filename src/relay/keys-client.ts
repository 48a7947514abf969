/**
 * The worker's end of the keys connection: receives keys and confirms the applied revisions.
 * Guarantees: reconnects for ever with backoff, within about 1 s after control is available; keys older than those of
 * the worker are confirmed but not applied.
 */
import type { Socket } from 'node:net';
import type { Limits } from '../config/limits.ts';
import type { Deadline } from '../runtime/deadline.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { Service } from '../runtime/service.ts';
import { ControlConnection } from './_control-connection.ts';
import { guarded } from './_guarded.ts';
import { LineSplitter } from './_line-splitter.ts';
import type { AppliedRevisions, KeysFrame, KeysMessage, KeysWorkerMessage } from './keys-messages.ts';
import { parseMessage } from './relay-messages.ts';

export interface KeysClientParts {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly socketPath: string;
  readonly slot: number;
  readonly applied: () => AppliedRevisions;
  readonly onKeys: (frame: KeysFrame) => void;
}

export class KeysClient implements Service {
  readonly name = 'keys';
  readonly #parts: KeysClientParts;
  readonly #connection: ControlConnection;
  /** Monotonic ms. */
  #receivedMs: number | undefined;

  constructor(parts: KeysClientParts) {
    this.#parts = parts;
    const { runtime, socketPath, slot, applied } = parts;
    this.#connection = new ControlConnection({
      runtime,
      socketPath,
      created: (socket) => this.#read(socket),
      opened: () => this.#send({ t: 'hello', slot, pid: process.pid, ...applied() }),
      lost: () => {},
    });
  }

  /** Time since control last sent or confirmed the keys, ms; undefined = never in this process. */
  get ageMs(): number | undefined {
    const { clock } = this.#parts.runtime;
    return this.#receivedMs === undefined ? undefined : Math.round(clock.nowMs() - this.#receivedMs);
  }

  async start(_deadline: Deadline): Promise<void> {
    this.#connection.start();
  }

  async stop(_deadline: Deadline): Promise<void> {
    this.#connection.destroy();
  }

  /** Connects now if not connected, without waiting for the backoff. */
  reconnect(): void {
    this.#connection.reconnect();
  }

  /** Confirms the revisions applied since. */
  confirm(): void {
    this.#send({ t: 'applied', ...this.#parts.applied() });
  }

  #send(message: KeysWorkerMessage): void {
    this.#connection.socket?.write(`${JSON.stringify(message)}\n`);
  }

  #read(socket: Socket): void {
    const { runtime, limits } = this.#parts;
    const lines = new LineSplitter(() => limits.snapshotBytes);
    socket.on('data', (chunk) => {
      const tooLong = lines.push(chunk, (text) => {
        const message = parseMessage<KeysMessage>(text);
        if (message) guarded(runtime, this.name, () => this.#receive(message));
      });
      if (tooLong > 0)
        runtime.bus.publish({
          type: 'task-faulted',
          task: this.name,
          fault: 'control sent keys longer than snapshotBytes; they were ignored',
        });
    });
  }

  #receive(message: KeysMessage): void {
    this.#receivedMs = this.#parts.runtime.clock.nowMs();
    if (message.t !== 'keys') return;
    this.#parts.onKeys({ keysRevision: message.keysRevision, keys: message.keys });
    this.confirm();
  }
}

/**
 * A worker's connection to a Unix socket of control.
 * Guarantees: reconnects until it is stopped, whatever happens to control; an attempt to connect ends within 2 s, and
 * the next one follows within about 1 s.
 */
import { connect, type Socket } from 'node:net';
import { backoffMs } from '../runtime/backoff.ts';
import type { Deadline } from '../runtime/deadline.ts';
import type { Runtime } from '../runtime/runtime.ts';

const CONNECT_TIMEOUT_MS = 2000;
/** Control restarts within about 1 s; a longer backoff would delay revocations. */
const BACKOFF = { baseMs: 50, capMs: 1000 } as const;

interface ControlConnectionParts {
  readonly runtime: Runtime;
  readonly socketPath: string;
  /** Called with each new socket, before it connects, to listen to its data. */
  readonly created: (socket: Socket) => void;
  /** Called when a socket is connected. Must not throw. */
  readonly opened: () => void;
  /** Called when a connected socket was closed, unless the connection is stopped. Must not throw. */
  readonly lost: () => void;
}

export class ControlConnection {
  readonly #parts: ControlConnectionParts;
  /** Connecting or connected. */
  #socket: Socket | undefined;
  #isConnected = false;
  #isRunning = false;
  /** Attempts and connections that failed since the last successful attempt. */
  #failures = 0;

  constructor(parts: ControlConnectionParts) {
    this.#parts = parts;
  }

  get isRunning(): boolean {
    return this.#isRunning;
  }

  /** The connected socket; undefined = not connected. */
  get socket(): Socket | undefined {
    return this.#isConnected ? this.#socket : undefined;
  }

  start(): void {
    this.#isRunning = true;
    this.reconnect();
  }

  /** Connects now if it is neither connected nor connecting, without waiting for the backoff. */
  reconnect(): void {
    if (!this.#isRunning || this.#socket) return;
    const { runtime, socketPath, created, opened } = this.#parts;
    const socket = connect(socketPath);
    this.#socket = socket;
    const connectTimer = runtime.timers.after(CONNECT_TIMEOUT_MS, () => {
      if (socket.connecting) socket.destroy();
    });
    socket.on('connect', () => {
      this.#isConnected = true;
      this.#failures = 0;
      opened();
    });
    created(socket);
    socket.on('error', () => {});
    socket.on('close', () => {
      connectTimer[Symbol.dispose]();
      this.#closed();
    });
  }

  /** Stops reconnecting and drops the connection, with what is not yet written. */
  destroy(): void {
    this.#isRunning = false;
    this.#socket?.destroy();
  }

  /**
   * Stops reconnecting and closes the connection when everything is written, at the latest by the deadline. Never
   * rejects.
   */
  async end(owner: string, deadline: Deadline): Promise<void> {
    this.#isRunning = false;
    const socket = this.#socket;
    if (!socket || socket.destroyed) return;
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
    if (this.#isConnected) socket.end();
    else socket.destroy();
    try {
      await this.#parts.runtime.waits.for(closed, { label: 'service-stop', owner, deadline });
    } catch {
      socket.destroy();
    }
  }

  #closed(): void {
    const wasConnected = this.#isConnected;
    this.#socket = undefined;
    this.#isConnected = false;
    this.#failures += 1;
    if (!this.#isRunning) return;
    if (wasConnected) this.#parts.lost();
    const { timers, random } = this.#parts.runtime;
    timers.after(backoffMs(this.#failures, BACKOFF, random), () => this.reconnect());
  }
}

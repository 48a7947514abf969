/**
 * Listens on the port and hands each accepted connection to a worker, without reading a byte of it (ADR 0004).
 * The port stays open while no worker is ready. A connection waits at most `handoverMs`, and at most `handoverQueue` of
 * them wait, taken from the client addresses in turn; then it gets a 503. The supervisor keeps its copy of a socket
 * until the worker acknowledges it, so that no connection is lost when the worker exits. A worker that does not
 * acknowledge is passed over while others do.
 */
import { readFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { connectionsWithin } from '../config/descriptors.ts';
import type { Limits } from '../config/limits.ts';
import { ANONYMOUS_PRINCIPAL, shareOf } from '../model/principal.ts';
import type { SupervisorMessage } from '../model/supervisor-messages.ts';
import { FairQueue } from '../runtime/fair-queue.ts';
import { FatalStartError } from './host.ts';
import { portHolder } from './proc.ts';

/** A worker that can be handed connections. */
export interface ConnectionTarget {
  readonly workerId: number;
  /** Its IPC channel is open. */
  readonly isOpen: boolean;
  /** Sends a message with a socket, as `ChildProcess.send` does; `sent` gets null, or why it could not be sent. */
  sendConnection(message: SupervisorMessage, socket: Socket, sent: (fault: Error | null) => void): void;
}

interface WaitingConnection {
  readonly socket: Socket;
  readonly n: number;
  readonly sinceMs: number;
}

interface TargetState {
  readonly target: ConnectionTarget;
  /** Handed over and not acknowledged. One at a time: Node.js queues a second handle behind an unacknowledged first. */
  pending: WaitingConnection | undefined;
  handedOverMs: number;
}

/** Descriptors that a supervisor needs besides connections. */
const OWN_DESCRIPTORS = 40;
const BACKLOG = 4096;
const POLL_MS = 250;
/**
 * Connections that are sent a 503 at the same time, for at most a second each; further ones are closed without a
 * response.
 */
const MAX_REFUSING = 256;
/** Refused connections are reported at most this often, ms. */
const REPORT_MS = 5000;
/** Equals what `refusalFrame` writes for the code `starting`; this process does not load that module. */
const UNAVAILABLE_BODY =
  '{"jsonrpc":"2.0","id":null,"error":{"code":-32005,"message":"No worker is ready; retry in a few seconds.","data":{"code":"starting","retryable":true}}}';
const UNAVAILABLE_RESPONSE =
  'HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nx-content-type-options: nosniff\r\n' +
  'cache-control: no-store\r\nretry-after: 1\r\nconnection: close\r\n' +
  `content-length: ${UNAVAILABLE_BODY.length}\r\n\r\n${UNAVAILABLE_BODY}`;

export class ConnectionDispatcher {
  readonly #limits: Pick<Limits, 'connections' | 'handoverMs' | 'handoverQueue'>;
  readonly #servers: Server[] = []; // bounded by: two addresses
  readonly #maxConnections: number;
  readonly #queue = new FairQueue<WaitingConnection>(({ socket }) =>
    shareOf(ANONYMOUS_PRINCIPAL, socket.remoteAddress ?? ''),
  );
  readonly #refusing = new Set<Socket>(); // bounded by: MAX_REFUSING
  readonly #targets = new Map<number, TargetState>(); // bounded by: workers
  /** Ids of the workers that get new connections, next one first. */
  #order: number[] = []; // bounded by: workers
  #accepted = 0;
  #poll: NodeJS.Timeout | undefined;
  #isClosed = false;
  port = 0;
  /** Connections that got a 503. */
  refused = 0;
  #reported = 0;
  #reportedMs = Number.NEGATIVE_INFINITY;
  readonly #report: (connections: number) => void;

  /**
   * `limits` are read when needed, because the configuration arrives later and may change. At most `maxConnections`,
   * what the descriptors of this process allow, wait. `report` gets the number of connections refused since its last
   * call.
   */
  constructor(
    limits: Pick<Limits, 'connections' | 'handoverMs' | 'handoverQueue'>,
    maxConnections: number,
    report: (connections: number) => void = () => {},
  ) {
    this.#limits = limits;
    this.#maxConnections = maxConnections;
    this.#report = report;
  }

  get waiting(): number {
    return this.#queue.size;
  }

  /**
   * Opens the port on `host`, default 127.0.0.1 and ::1. Rejects with a `FatalStartError` that names the process which
   * holds the port.
   */
  async listen(port: number, host: string | undefined): Promise<void> {
    try {
      await this.#open(port, host);
    } catch (thrown) {
      const fault = thrown as NodeJS.ErrnoException;
      if (fault.code !== 'EADDRINUSE')
        throw new FatalStartError([`Cannot listen on ${host ?? 'loopback'} port ${port}: ${fault.message}`]);
      const holder = await portHolder(port);
      throw new FatalStartError([
        `Port ${port} is in use${holder ? ` by ${holder}` : ''}. Choose another with --port or PORT.`,
      ]);
    }
  }

  async #open(port: number, host: string | undefined): Promise<void> {
    if (host !== undefined) this.port = await this.#listenOn(host, port);
    else {
      this.port = await this.#listenOn('127.0.0.1', port);
      // A machine without IPv6 is fine.
      await this.#listenOn('::1', this.port).catch((fault: NodeJS.ErrnoException) => {
        if (fault.code === 'EADDRINUSE') throw fault;
      });
    }
    this.#poll = setInterval(() => this.#expire(), POLL_MS);
  }

  /** Starts handing connections to a worker. */
  add(target: ConnectionTarget): void {
    this.#targets.set(target.workerId, { target, pending: undefined, handedOverMs: 0 });
    this.#order = [...this.#order.filter((id) => id !== target.workerId), target.workerId];
    this.#dispatch();
  }

  /** Hands no new connection to a worker that is about to exit; it may still acknowledge the pending one. */
  pause(workerId: number): void {
    this.#order = this.#order.filter((other) => other !== workerId);
  }

  /** Forgets a worker that exited; the connection that it did not acknowledge goes to another one. */
  remove(workerId: number): void {
    const state = this.#targets.get(workerId);
    this.#targets.delete(workerId);
    this.pause(workerId);
    const pending = state?.pending;
    // Its send may still fail later, and must not requeue the connection a second time.
    if (state) state.pending = undefined;
    if (pending) this.#requeue(pending);
    this.#dispatch();
  }

  /** Returns for how many ms a worker has not acknowledged a connection; 0 = none is pending. */
  unacknowledgedMs(workerId: number): number {
    const state = this.#targets.get(workerId);
    return state?.pending ? performance.now() - state.handedOverMs : 0;
  }

  /** The worker has taken over connection `n`. */
  acknowledge(workerId: number, n: number): void {
    const state = this.#targets.get(workerId);
    if (state?.pending?.n !== n) return;
    // Closes only this process's descriptor; the connection stays open in the worker.
    state.pending.socket.destroy();
    state.pending = undefined;
    this.#dispatch();
  }

  /** Stops listening; connections that still wait get a 503. */
  close(): void {
    this.#isClosed = true;
    clearInterval(this.#poll);
    for (const server of this.#servers) server.close();
    for (const { socket } of this.#queue.takeWhile(() => true)) this.#refuse(socket);
  }

  #listenOn(host: string, port: number): Promise<number> {
    const server = createServer({ pauseOnConnect: true, noDelay: true }, (socket) => this.#accept(socket));
    this.#servers.push(server);
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host, port, backlog: BACKLOG }, () => {
        server.off('error', reject);
        // EMFILE and the like: this connection is lost, the port stays open.
        server.on('error', () => {});
        const address = server.address();
        resolve(typeof address === 'object' && address ? address.port : port);
      });
    });
  }

  #accept(socket: Socket): void {
    socket.on('error', () => {});
    // Otherwise Node.js counts the connection across processes, with messages of its own for each close.
    Object.assign(socket, { server: null });
    this.#accepted += 1;
    const { handoverQueue, connections } = this.#limits;
    const most = Math.min(handoverQueue, connections, this.#maxConnections);
    const displaced = this.#queue.push({ socket, n: this.#accepted, sinceMs: performance.now() }, most);
    if (displaced) this.#refuse(displaced.socket);
    this.#dispatch();
  }

  #dispatch(): void {
    while (this.#queue.size > 0) {
      const state = this.#nextFree();
      if (!state) return;
      const waiting = this.#queue.shift();
      if (waiting && !waiting.socket.destroyed) this.#handOver(state, waiting);
    }
  }

  /** Round robin over the workers that have acknowledged their last connection. */
  #nextFree(): TargetState | undefined {
    for (let tries = 0; tries < this.#order.length; tries += 1) {
      const workerId = this.#order.shift() as number;
      this.#order.push(workerId);
      const state = this.#targets.get(workerId);
      if (state && !state.pending) return state;
    }
    return undefined;
  }

  #handOver(state: TargetState, waiting: WaitingConnection): void {
    state.pending = waiting;
    state.handedOverMs = performance.now();
    state.target.sendConnection({ t: 'connection', n: waiting.n }, waiting.socket, (fault) => {
      if (!fault || state.pending !== waiting) return;
      state.pending = undefined;
      if (state.target.isOpen) {
        // This connection cannot be sent (the client left, its handle is closed); the worker is fine.
        this.#refuse(waiting.socket);
      } else {
        // The channel is closed: another worker takes over.
        this.pause(state.target.workerId);
        this.#requeue(waiting);
      }
      this.#dispatch();
    });
  }

  #requeue(waiting: WaitingConnection): void {
    if (this.#isClosed) this.#refuse(waiting.socket);
    else this.#queue.putBack(waiting);
  }

  #expire(): void {
    const beforeMs = performance.now() - this.#limits.handoverMs;
    for (const { socket } of this.#queue.takeWhile(({ sinceMs }) => sinceMs < beforeMs)) this.#refuse(socket);
    this.#dispatch();
    this.#reportRefused();
  }

  #reportRefused(): void {
    const nowMs = performance.now();
    const connections = this.refused - this.#reported;
    if (connections === 0 || nowMs - this.#reportedMs < REPORT_MS) return;
    this.#reported = this.refused;
    this.#reportedMs = nowMs;
    this.#report(connections);
  }

  #refuse(socket: Socket): void {
    this.refused += 1;
    if (this.#refusing.size >= MAX_REFUSING) return void socket.destroy();
    this.#refusing.add(socket);
    socket.on('close', () => this.#refusing.delete(socket));
    socket.end(UNAVAILABLE_RESPONSE);
    // Unread bytes would make the kernel send a reset instead.
    socket.resume();
    setTimeout(() => socket.destroy(), 1000).unref();
  }
}

/** Returns how many connections the descriptors of this process allow, at most `wanted`. */
export function availableConnections(wanted: number): number {
  try {
    return connectionsWithin(wanted, readFileSync('/proc/self/limits', 'utf8'), OWN_DESCRIPTORS);
  } catch {
    return wanted;
  }
}

/**
 * The port, and the handing over of each accepted connection to a hub.
 * Promises: the port stays open while no hub is up; a connection waits at most `handoverMs` (then 503) and at most `handoverQueue` of them;
 * the guard keeps its copy of a socket until the hub has said that it took it, so that a hub's death between loses nobody; a hub that does not
 * take is passed over while others are there, and `untakenMs` says for how long.
 * Connections that wait are handed over address by address in turn. Does not: read a byte of what is accepted. ADR 0004.
 */
import { readFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { connectionsWithin } from '../config/descriptors.ts';
import type { Limits } from '../config/limits.ts';
import { FairQueue } from '../kernel/fair-queue.ts';
import { ANONYMOUS_PRINCIPAL, shareOf } from '../kernel/principal.ts';
import type { GuardWord } from '../kernel/supervisor-messages.ts';
import { Hopeless } from './host.ts';
import { portHolder } from './process-probe.ts';

/** A hub that can be handed connections. `send` as ChildProcess.send. */
export interface Taker {
  readonly slot: number;
  /** Its channel is open. */
  readonly isOpen: boolean;
  send(word: GuardWord, socket: Socket, sent: (fault: Error | null) => void): void;
}

interface Waiting {
  readonly socket: Socket;
  readonly n: number;
  readonly sinceMs: number;
}

interface Counter {
  readonly taker: Taker;
  /** On its way to this hub. One at a time: Node queues a second handle behind an unacknowledged first. */
  busy: Waiting | undefined;
  handedMs: number;
}

/** What a guard has open besides connections. */
const OWN_DESCRIPTORS = 40;
const BACKLOG = 4096;
const LOOK_MS = 250;
/** Connections that get 503 at the same time, for a second at most; beyond them others are closed without an answer. */
const BEING_TURNED_AWAY = 256;
/** Connections that got 503 are reported at most this often, in ms. */
const REPORT_MS = 5000;
/** As `refusalFrame` writes a refusal with the code `starting`; this process does not load that module. */
const BODY =
  '{"jsonrpc":"2.0","id":null,"error":{"code":-32005,"message":"No hub is ready to answer; try again in a moment.","data":{"code":"starting","retryable":true}}}';
const NO_HUB = `HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nx-content-type-options: nosniff\r\ncache-control: no-store\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: ${BODY.length}\r\n\r\n${BODY}`;

export class Door {
  readonly #limits: Pick<Limits, 'handoverMs' | 'handoverQueue'>;
  readonly #servers: Server[] = []; // bounded by: two addresses
  readonly #room: number;
  readonly #queue = new FairQueue<Waiting>(({ socket }) => shareOf(ANONYMOUS_PRINCIPAL, socket.remoteAddress ?? ''));
  readonly #turnedAway = new Set<Socket>(); // bounded by: BEING_TURNED_AWAY
  readonly #counters = new Map<number, Counter>(); // bounded by: hubs
  #order: number[] = []; // bounded by: hubs
  #accepted = 0;
  #look: NodeJS.Timeout | undefined;
  #isClosed = false;
  port = 0;
  /** Connections that got 503 from the guard. */
  turnedAway = 0;
  #reported = 0;
  #reportedMs = Number.NEGATIVE_INFINITY;
  readonly #report: (connections: number) => void;

  /**
   * `limits` are read when they are needed: the configuration may come later than the first hub. `room` = connections that this process's
   * descriptors allow; more than that do not wait, whatever the limit says. `report` gets the number of connections that got 503 since its last call.
   */
  constructor(
    limits: Pick<Limits, 'handoverMs' | 'handoverQueue'>,
    room: number,
    report: (connections: number) => void = () => {},
  ) {
    this.#limits = limits;
    this.#room = room;
    this.#report = report;
  }

  get waiting(): number {
    return this.#queue.size;
  }

  /** Opens the port; `host` undefined = 127.0.0.1 and ::1. Rejects with `Hopeless`, which names who holds it. */
  async listen(port: number, host: string | undefined): Promise<void> {
    try {
      await this.#open(port, host);
    } catch (thrown) {
      const fault = thrown as NodeJS.ErrnoException;
      if (fault.code !== 'EADDRINUSE')
        throw new Hopeless([`Cannot listen on ${host ?? 'loopback'} port ${port}: ${fault.message}`]);
      const holder = await portHolder(port);
      throw new Hopeless([
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
    this.#look = setInterval(() => this.#expire(), LOOK_MS);
  }

  /** This hub can take connections from now on. */
  opened(taker: Taker): void {
    this.#counters.set(taker.slot, { taker, busy: undefined, handedMs: 0 });
    this.#order = [...this.#order.filter((slot) => slot !== taker.slot), taker.slot];
    this.#pump();
  }

  /** This hub ends but still lives: nothing new for it; what is on its way to it, it may still take. */
  left(slot: number): void {
    this.#order = this.#order.filter((other) => other !== slot);
  }

  /** This hub is gone: what it had not taken goes to another. */
  closed(slot: number): void {
    const counter = this.#counters.get(slot);
    this.#counters.delete(slot);
    this.#order = this.#order.filter((other) => other !== slot);
    const untaken = counter?.busy;
    // Its send may still fail later and must not give the connection away a second time.
    if (counter) counter.busy = undefined;
    if (untaken) this.#again(untaken);
    this.#pump();
  }

  /** ms for which this hub has not taken what it was handed; 0 = nothing is on its way. */
  untakenMs(slot: number): number {
    const counter = this.#counters.get(slot);
    return counter?.busy ? performance.now() - counter.handedMs : 0;
  }

  /** The hub has taken connection `n`. */
  taken(slot: number, n: number): void {
    const counter = this.#counters.get(slot);
    if (counter?.busy?.n !== n) return;
    // Closes this process's descriptor only; the connection lives on in the hub.
    counter.busy.socket.destroy();
    counter.busy = undefined;
    this.#pump();
  }

  /** No new connections; those that still wait get 503. */
  close(): void {
    this.#isClosed = true;
    clearInterval(this.#look);
    for (const server of this.#servers) server.close();
    for (const { socket } of this.#queue.takeWhile(() => true)) this.#turnAway(socket);
  }

  #listenOn(host: string, port: number): Promise<number> {
    const server = createServer({ pauseOnConnect: true, noDelay: true }, (socket) => this.#accept(socket));
    this.#servers.push(server);
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host, port, backlog: BACKLOG }, () => {
        server.off('error', reject);
        // EMFILE and the like: this connection is lost, the port is not.
        server.on('error', () => {});
        const address = server.address();
        resolve(typeof address === 'object' && address ? address.port : port);
      });
    });
  }

  #accept(socket: Socket): void {
    socket.on('error', () => {});
    // Node would otherwise count the connection across processes, with messages of its own for each close.
    Object.assign(socket, { server: null });
    this.#accepted += 1;
    const most = Math.min(this.#limits.handoverQueue, this.#room);
    const displaced = this.#queue.push({ socket, n: this.#accepted, sinceMs: performance.now() }, most);
    if (displaced) this.#turnAway(displaced.socket);
    this.#pump();
  }

  #pump(): void {
    while (this.#queue.size > 0) {
      const counter = this.#nextFree();
      if (!counter) return;
      const waiting = this.#queue.shift();
      if (waiting && !waiting.socket.destroyed) this.#hand(counter, waiting);
    }
  }

  /** Round robin over hubs that have nothing on its way to them. */
  #nextFree(): Counter | undefined {
    for (let tries = 0; tries < this.#order.length; tries += 1) {
      const slot = this.#order.shift() as number;
      this.#order.push(slot);
      const counter = this.#counters.get(slot);
      if (counter && !counter.busy) return counter;
    }
    return undefined;
  }

  #hand(counter: Counter, waiting: Waiting): void {
    counter.busy = waiting;
    counter.handedMs = performance.now();
    counter.taker.send({ t: 'connection', n: waiting.n }, waiting.socket, (fault) => {
      if (!fault || counter.busy !== waiting) return;
      counter.busy = undefined;
      if (counter.taker.isOpen) {
        // This connection cannot travel (its client is gone, its handle is closed); the hub is fine.
        this.#turnAway(waiting.socket);
      } else {
        // The channel is closed: no more for this hub, and another takes it over.
        this.left(counter.taker.slot);
        this.#again(waiting);
      }
      this.#pump();
    });
  }

  #again(waiting: Waiting): void {
    if (this.#isClosed) this.#turnAway(waiting.socket);
    else this.#queue.putBack(waiting);
  }

  #expire(): void {
    const beforeMs = performance.now() - this.#limits.handoverMs;
    for (const { socket } of this.#queue.takeWhile(({ sinceMs }) => sinceMs < beforeMs)) this.#turnAway(socket);
    this.#pump();
    this.#reportTurnedAway();
  }

  #reportTurnedAway(): void {
    const nowMs = performance.now();
    const connections = this.turnedAway - this.#reported;
    if (connections === 0 || nowMs - this.#reportedMs < REPORT_MS) return;
    this.#reported = this.turnedAway;
    this.#reportedMs = nowMs;
    this.#report(connections);
  }

  #turnAway(socket: Socket): void {
    this.turnedAway += 1;
    if (this.#turnedAway.size >= BEING_TURNED_AWAY) return void socket.destroy();
    this.#turnedAway.add(socket);
    socket.on('close', () => this.#turnedAway.delete(socket));
    socket.end(NO_HUB);
    // Unread bytes would make the kernel answer with a reset instead.
    socket.resume();
    setTimeout(() => socket.destroy(), 1000).unref();
  }
}

/** Connections that this process's descriptors allow, at most `wanted`. */
export function connectionRoom(wanted: number): number {
  try {
    return connectionsWithin(wanted, readFileSync('/proc/self/limits', 'utf8'), OWN_DESCRIPTORS);
  } catch {
    return wanted;
  }
}

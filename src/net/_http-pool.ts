/**
 * The connections to one server: assigns requests to connections, opens new ones and closes idle ones.
 * Guarantees: at most `connections` sockets and three times as many waiting requests, first come, first served, each of
 * which can be aborted; the most recently used connection is used next; a connection that its server has closed or may
 * be about to close is not used; a failed connection attempt fails the request that has waited longest, so none waits
 * for ever; `close` destroys everything at once. Nothing is pipelined, sent twice (except after a redirect to the same
 * place) or timed.
 */

import { HubError } from '../model/errors.ts';
import { CappedSlots } from '../runtime/capped-slots.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { TimerWheelEntry } from '../runtime/timer-wheel.ts';
import type { Connector } from './_connector.ts';
import type { DecodingMemory } from './_content-decoder.ts';
import type { CookieJar } from './_cookies.ts';
import { Exchange, faultFrom, WaitingLine } from './_http-exchange.ts';
import { movedHead, type RequestHead, requestHead } from './_http-request.ts';
import { HttpSocket, type SocketOwner } from './_http-socket.ts';
import type { EgressRequest, ResponseController, ResponseHandler, ResponseHeaders } from './_http-types.ts';

export interface HttpPoolOptions {
  readonly runtime: Runtime;
  /** Display name of the server. */
  readonly owner: string;
  readonly connections: number;
  /** Host header of requests without one. */
  readonly host: string;
  readonly connector: Connector;
  /** Memory that decoding responses of this server may use. */
  readonly decoding: DecodingMemory;
  /** The cookies of the server. */
  readonly cookies: CookieJar;
  /** Returns the path after a redirect from `path` to `location`, or undefined when the redirect is not followed. */
  readonly movedPath: (path: string, location: string) => string | undefined;
  /** Called when a redirect is followed for the first time. */
  readonly moved: (status: number, hasSlash: boolean) => void;
}

/**
 * Idle time in ms after which a connection is closed. Servers close idle sockets after 5 s (Node) or later, so the hub
 * must be first. A shorter hint of the server is respected.
 */
const IDLE_SOCKET_MS = 4000;
const HINT_MARGIN_MS = 2000;
/** Waiting requests per connection: every request passes the queue, if only for one turn of the event loop. */
const WAITING_EACH = 3;
/** Paths of one server whose redirects are remembered. */
const MAX_MOVED = 4;
const EMPTY = Buffer.alloc(0);
const NO_HEAD: RequestHead = { method: '', path: '', text: '', servername: undefined, bodiless: false };

export class HttpPool implements SocketOwner {
  readonly #options: HttpPoolOptions;
  readonly #sockets: CappedSlots<HttpSocket>;
  readonly #idle: HttpSocket[] = []; // bounded by: the sockets; the one used last is at the end
  readonly #waiting: WaitingLine;
  readonly decoding: DecodingMemory;
  readonly #report: (fault: unknown) => void;
  #connecting = 0;
  /** Turns of the event loop in which idle connections were checked; counted only while requests wait. */
  #turn = 0;
  #looksAgain = false;
  #sweep: TimerWheelEntry | undefined;
  /** Target paths of redirects, by path. */
  readonly #movedPaths = new Map<string, string>(); // bounded by: MAX_MOVED
  #lastCookies: string | undefined;
  #lastRequest: EgressRequest | undefined;
  #lastHead: RequestHead | undefined;
  #closed = false;

  constructor(options: HttpPoolOptions) {
    this.#options = options;
    const { runtime, owner, connections } = options;
    this.#sockets = new CappedSlots('net.sockets', connections, runtime.ceilings);
    this.#waiting = new WaitingLine(WAITING_EACH * connections, runtime.ceilings);
    this.decoding = options.decoding;
    this.#report = (fault) => runtime.bus.publish({ type: 'task-faulted', task: `an answer of ${owner}`, fault });
  }

  dispatch(request: EgressRequest, handler: ResponseHandler): ResponseController {
    let head: RequestHead;
    try {
      head = this.#headOf(request);
    } catch (fault) {
      const rejected = new Exchange(NO_HEAD, null, handler, this.#report);
      rejected.fail(faultFrom(fault));
      return rejected;
    }
    const body = request.body ?? (request.method === 'POST' ? EMPTY : null);
    const exchange = new Exchange(head, body, handler, this.#report);
    if (this.#closed) exchange.fail(this.#stopped());
    else this.place(exchange);
    return exchange;
  }

  /** Destroys all connections; their requests and the waiting ones fail. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    const { runtime, connector } = this.#options;
    if (this.#sweep) runtime.wheel.remove(this.#sweep);
    connector.close();
    for (const socket of [...this.#sockets.values()]) socket.drop(this.#stopped());
    for (let next = this.#waiting.shift(); next; next = this.#waiting.shift()) next.fail(this.#stopped());
    this.#sockets[Symbol.dispose]();
    this.#waiting[Symbol.dispose]();
  }

  mayFollow(exchange: Exchange, status: number, { location }: ResponseHeaders): boolean {
    const { path } = exchange.head;
    if (exchange.isMoved || this.#closed || typeof location !== 'string') return false;
    const isKnown = this.#movedPaths.has(path);
    if (!isKnown && (this.#movedPaths.size >= MAX_MOVED || [...this.#movedPaths.values()].includes(path))) return false;
    const to = this.#options.movedPath(path, location);
    if (to === undefined) return false;
    this.#movedPaths.set(path, to);
    this.#lastRequest = undefined;
    if (!isKnown) this.#options.moved(status, !path.replace(/\?.*/s, '').endsWith('/'));
    exchange.head = movedHead(exchange.head, to);
    exchange.isMoved = true;
    return true;
  }

  cookiesSet({ head }: Exchange, fields: string | readonly string[], { date }: ResponseHeaders): void {
    this.#options.cookies.take(fields, head.path, typeof date === 'string' ? date : '');
  }

  connected(socket: HttpSocket): void {
    this.#connecting -= 1;
    socket.freedInTurn = -1;
    socket.idleUntilMs = this.#options.runtime.clock.nowMs() + IDLE_SOCKET_MS;
    if (!this.#carryNext(socket)) this.#keep(socket);
  }

  refused(socket: HttpSocket, fault: HubError): void {
    this.#connecting -= 1;
    this.#sockets.free(socket.slot);
    const unlucky = this.#waiting.shift();
    this.#connectMore();
    unlucky?.fail(fault);
  }

  free(socket: HttpSocket, hintSeconds: number | undefined): void {
    const hintMs = hintSeconds === undefined ? IDLE_SOCKET_MS : hintSeconds * 1000 - HINT_MARGIN_MS;
    if (hintMs <= 0 || this.#closed) {
      socket.drop();
      return;
    }
    socket.idleUntilMs = this.#options.runtime.clock.nowMs() + Math.min(hintMs, IDLE_SOCKET_MS);
    socket.freedInTurn = this.#turn;
    this.#keep(socket);
    this.#lookAgain();
  }

  gone(socket: HttpSocket): void {
    this.#sockets.free(socket.slot);
    const at = this.#idle.indexOf(socket);
    if (at >= 0) this.#idle.splice(at, 1);
    this.#connectMore();
  }

  place(exchange: Exchange): void {
    if (!this.#waiting.push(exchange))
      exchange.fail(new HubError('server-busy', { detail: { setting: 'serverConnections', outcome: 'not-executed' } }));
    else if (this.#idle.length > 0) this.#lookAgain();
    else this.#connectMore();
  }

  /**
   * An idle connection is used only after the event loop polled once more. So what its server sent or closed meanwhile,
   * even together with the last response, is noticed before a request is written that would be lost.
   */
  #lookAgain(): void {
    if (this.#looksAgain) return;
    this.#looksAgain = true;
    setImmediate(this.#turned);
  }

  readonly #turned = (): void => {
    this.#looksAgain = false;
    this.#turn += 1;
    if (this.#waiting.size === 0) return;
    const nowMs = this.#options.runtime.clock.nowMs();
    for (let socket = this.#takeIdle(nowMs); socket; socket = this.#takeIdle(nowMs))
      if (!this.#carryNext(socket)) {
        this.#keep(socket);
        return;
      }
    if (this.#idle.length > 0) this.#lookAgain();
    this.#connectMore();
  };

  /**
   * Returns the most recently used connection that was checked since, unless its idle time is over (after a stall of
   * the event loop this runs before the sweep).
   */
  #takeIdle(nowMs: number): HttpSocket | undefined {
    for (let at = this.#idle.length - 1; at >= 0; at -= 1) {
      const socket = this.#idle[at];
      if (!socket || this.#turn - socket.freedInTurn < 2) continue;
      this.#idle.splice(at, 1);
      if (socket.idleUntilMs > nowMs) return socket;
      socket.drop();
    }
    return undefined;
  }

  /** Gives the connection the request that has waited longest. Returns false when none waits. */
  #carryNext(socket: HttpSocket): boolean {
    for (let next = this.#waiting.shift(); next; next = this.#waiting.shift()) if (socket.send(next)) return true;
    return false;
  }
  #keep(socket: HttpSocket): void {
    this.#idle.push(socket);
    const { wheel } = this.#options.runtime;
    const untilMs = socket.idleUntilMs;
    if (!this.#sweep) this.#sweep = wheel.add(untilMs, () => this.#putAway());
    else if (this.#sweep.slot < 0 || untilMs < this.#sweep.atMs) wheel.move(this.#sweep, untilMs);
  }

  /** Uses one timer for all connections: it runs when the next one is due, however often they were used meanwhile. */
  #putAway(): void {
    const { clock, wheel } = this.#options.runtime;
    const nowMs = clock.nowMs();
    for (const socket of [...this.#idle]) if (socket.idleUntilMs <= nowMs) socket.drop();
    if (this.#sweep && this.#idle.length > 0)
      wheel.move(this.#sweep, Math.min(...this.#idle.map((socket) => socket.idleUntilMs)));
  }

  /** Starts one attempt for each waiting request that has neither an attempt nor an idle connection. */
  #connectMore(): void {
    const { connector, connections } = this.#options;
    while (
      !this.#closed &&
      this.#connecting + this.#idle.length < this.#waiting.size &&
      this.#sockets.size < connections
    ) {
      const socket = new HttpSocket(this, connector.isPlain);
      socket.slot = this.#sockets.add(socket);
      this.#connecting += 1;
      socket.connect(connector, this.#lastHead?.servername);
    }
  }

  /** Caches the head, because the requests to a server usually differ in their bodies only. */
  #headOf(request: EgressRequest): RequestHead {
    const last = this.#lastRequest;
    const { header } = this.#options.cookies;
    if (
      this.#lastHead &&
      last?.headers === request.headers &&
      last.path === request.path &&
      last.method === request.method &&
      header === this.#lastCookies
    )
      return this.#lastHead;
    const made = requestHead(request, this.#options.host, header);
    const moved = this.#movedPaths.get(made.path);
    const head = moved === undefined ? made : movedHead(made, moved);
    this.#lastRequest = request;
    this.#lastCookies = header;
    this.#lastHead = head;
    return head;
  }

  #stopped(): HubError {
    return new HubError('server-down', {
      message: 'The hub has closed its connections to this server.',
      detail: { server: this.#options.owner },
    });
  }
}

/**
 * The requests of one connection, one at a time: a pipelined request waits until the previous response is finished.
 * Guarantees: no handler runs while a response on its connection is open; a connection is closed when more than
 * `pipelined` requests wait on it, when they have or announce more than `pipelinedBytes`, and when one waits behind a
 * stream. Waiting requests are not identified yet.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { GuardedServerResponse } from './guarded-http.ts';
import type { Handler } from './router.ts';

export interface ConnectionParts {
  /** Maximum number of requests that wait on one connection. */
  readonly maxWaiting: () => number;
  /** Maximum number of bytes that these requests have or announce. */
  readonly maxWaitingBytes: () => number;
  /** Starts a request. */
  readonly start: (arrived: Arrived) => void;
  /** A response has closed. */
  readonly ended: (response: ServerResponse) => void;
  /** No response is open and no request waits. */
  readonly idle: (socket: Socket) => void;
}

/** A request and its handler. */
export interface Arrived {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly handle: Handler;
}

export class Connection {
  /** Set by `read-pacing.ts` while it is not read; and when it was last read again. */
  isHeld = false;
  readAtMs = Number.NEGATIVE_INFINITY;
  readonly #socket: Socket;
  readonly #parts: ConnectionParts;
  #open: ServerResponse | undefined;
  #isBodyUnread = false;
  #waiting: Arrived[] | undefined; // bounded by: pipelined
  /** Bytes of the connection before the first waiting request. */
  #bytesBefore = 0;
  /** Announced bytes of bodies of waiting requests. */
  #announcedBytes = 0;
  readonly #finished = (): void => this.#next();

  constructor(socket: Socket, parts: ConnectionParts) {
    this.#socket = socket;
    this.#parts = parts;
  }

  /** The open response. */
  get open(): ServerResponse | undefined {
    return this.#open;
  }

  /** Tells whether a part of the body of the last answered request has not arrived. */
  get isBodyUnread(): boolean {
    return this.#isBodyUnread;
  }

  /** Starts the request, or keeps it until the previous response is finished. */
  take(arrived: Arrived): void {
    // The previous answer was the last one of the connection: this request could not be answered.
    if (this.#socket.writableEnded) return;
    if (this.#open === undefined) this.#begin(arrived);
    else if (!isStream(this.#open) && this.#hasRoomFor(arrived)) {
      this.#waiting ??= [];
      this.#waiting.push(arrived);
    } else {
      this.close();
      this.#socket.destroy();
    }
  }

  /** Drops the waiting requests; the connection has closed. */
  close(): void {
    this.#waiting = undefined;
  }

  #hasRoomFor({ request }: Arrived): boolean {
    const count = this.#waiting?.length ?? 0;
    if (count === 0) {
      this.#bytesBefore = this.#socket.bytesRead;
      this.#announcedBytes = 0;
    }
    this.#announcedBytes += Number(request.headers['content-length'] ?? 0);
    const arrivedBytes = this.#socket.bytesRead - this.#bytesBefore;
    const isWithin = Math.max(arrivedBytes, this.#announcedBytes) <= this.#parts.maxWaitingBytes();
    return isWithin && count < this.#parts.maxWaiting();
  }

  #begin(arrived: Arrived): void {
    this.#isBodyUnread = false;
    this.#open = arrived.response;
    (arrived.response as GuardedServerResponse).whenClosed = this.#finished;
    this.#parts.start(arrived);
  }

  #next(): void {
    if (this.#open) {
      this.#parts.ended(this.#open);
      if (!this.#open.req.complete) this.#isBodyUnread = true;
    }
    this.#open = undefined;
    const next = this.#waiting?.shift();
    if (next === undefined || this.#socket.destroyed || this.#socket.writableEnded) this.#parts.idle(this.#socket);
    else this.#begin(next);
  }
}

/** Tells whether its end is not near: a request behind it would wait for hours. */
function isStream(response: ServerResponse): boolean {
  return STREAM in response;
}

const STREAM = Symbol('stream');

/** Marks a response as a stream that may last for hours. */
export function markStream(response: ServerResponse): void {
  Object.assign(response, { [STREAM]: true });
}

/**
 * Marks a response as an event stream whose bytes come from another worker; `isAtLineEnd` says where the last of them
 * ended.
 */
export function markPassedStream(response: ServerResponse, isAtLineEnd: () => boolean): void {
  Object.assign(response, { [STREAM]: isAtLineEnd });
}

/** Tells whether a comment may be written into a stream now: not in the middle of a line from another worker. */
export function takesComment(response: ServerResponse): boolean {
  const mark: unknown = (response as { [STREAM]?: unknown })[STREAM];
  return typeof mark === 'function' ? mark() === true : mark === true;
}

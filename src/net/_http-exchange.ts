/**
 * One request on its way through a pool, and the queue in which requests wait for a connection. `_http-socket.ts` reads
 * and writes.
 * Guarantees: the handler is notified of the end exactly once, and of nothing after it; `abort` ends the request in any
 * state and frees its place at once; exceptions of a handler are reported and affect nothing else; the queue is
 * limited, and leaving it is O(1).
 */

import type { HubError } from '../model/errors.ts';
import { CappedCount, type ContainerLimits } from '../runtime/capped.ts';
import { contentCoding, decodedHeaders } from './_content-coding.ts';
import { ContentDecoder, type DecoderSink, type DecodingMemory, UNDECODABLE } from './_content-decoder.ts';
import { malformed } from './_http-head.ts';
import type { RequestHead } from './_http-request.ts';
import type { ResponseController, ResponseHandler, ResponseHeaders } from './_http-types.ts';

/** Bytes after the end of a compressed body that are read and discarded; a connection that sends more is closed. */
const SURPLUS_BYTES = 64 * 1024;

/** The current holder of an exchange: the queue or a connection. */
export interface ExchangeHolder {
  /** The exchange was aborted; it has already been removed when this returns. */
  release(exchange: Exchange): void;
  /** Pauses or resumes reading. */
  pace(exchange: Exchange): void;
}

export class Exchange implements ResponseController, DecoderSink {
  head: RequestHead;
  /** True while it follows a redirect: it has started already, and follows no further redirect. */
  isMoved = false;
  readonly body: Buffer | null;
  readonly handler: ResponseHandler;
  holder: ExchangeHolder | undefined;
  /** Neighbours in the queue. */
  previous: Exchange | undefined;
  next: Exchange | undefined;
  #aborted = false;
  #paused = false;
  #over = false;
  #decoder: ContentDecoder | undefined;
  /** True after the server sent the complete response. */
  #isComplete = false;
  #isDecoded = false;
  #surplusBytes = 0;
  readonly #report: (fault: unknown) => void;

  /** `report` receives exceptions of the handler that nobody can handle. */
  constructor(head: RequestHead, body: Buffer | null, handler: ResponseHandler, report: (fault: unknown) => void) {
    this.head = head;
    this.body = body;
    this.handler = handler;
    this.#report = report;
  }

  get aborted(): boolean {
    return this.#aborted;
  }

  get paused(): boolean {
    return this.#paused || this.#decoder?.isBusy === true;
  }

  /** True after the handler was notified of the end. */
  get over(): boolean {
    return this.#over;
  }

  abort(reason: Error): void {
    if (this.#over) return;
    this.#aborted = true;
    this.holder?.release(this);
    this.fail(reason);
  }

  pause(): void {
    if (this.#over || this.#paused) return;
    this.#paused = true;
    this.#decoder?.pause();
    this.holder?.pace(this);
  }

  resume(): void {
    if (this.#over || !this.#paused) return;
    this.#paused = false;
    this.#decoder?.resume();
    this.holder?.pace(this);
  }

  /** Called before the request is written. Returns false when its handler aborted it. */
  start(): boolean {
    try {
      if (!this.isMoved) this.handler.onRequestStart(this);
    } catch (fault) {
      this.fail(faultFrom(fault));
    }
    return !this.#over;
  }

  /** Passes status and headers to the handler. `memory` counts the bytes that decoding needs. */
  begin(status: number, headers: ResponseHeaders, memory: DecodingMemory): void {
    const field = headers['content-encoding'];
    const coding = field === undefined || this.head.bodiless ? 'none' : contentCoding(field);
    // The handler decides about a coding that cannot be decoded.
    const isKnown = field !== undefined && coding !== undefined;
    if (isKnown && coding !== 'none') this.#decoder = new ContentDecoder(coding, memory, this);
    this.handler.onResponseStart(this, status, isKnown ? decodedHeaders(headers) : headers);
  }

  /** Takes a piece of the response body. */
  data(piece: Buffer): void {
    const decoder = this.#decoder;
    if (!decoder) return this.handler.onResponseData(this, piece);
    if (!this.#isDecoded) return decoder.write(piece);
    this.#surplusBytes += piece.length;
    if (this.#surplusBytes > SURPLUS_BYTES)
      this.abort(malformed(UNDECODABLE, 'its body continues after the end of its content coding'));
  }

  /** Called when everything from one read was passed on: the decoder starts. */
  flush(): void {
    const decoder = this.#decoder;
    if (!decoder || this.#over) return;
    decoder.flush();
    if (decoder.isBusy) this.holder?.pace(this);
  }

  decoded(piece: Buffer): void {
    if (this.#over) return;
    try {
      this.handler.onResponseData(this, piece);
    } catch (fault) {
      this.abort(faultFrom(fault));
    }
  }

  ready(): void {
    this.holder?.pace(this);
  }

  ended(): void {
    this.#isDecoded = true;
    if (this.#isComplete) this.end();
    else this.holder?.pace(this);
  }

  failed(fault: HubError): void {
    this.abort(fault);
  }

  /** Marks the response as complete. */
  end(): void {
    if (this.#over) return;
    this.#isComplete = true;
    this.holder = undefined;
    if (this.#decoder && !this.#isDecoded) return this.#decoder.end();
    this.#over = true;
    try {
      this.handler.onResponseEnd(this);
    } catch (fault) {
      this.#report(fault);
    }
  }

  fail(fault: Error): void {
    if (this.#over) return;
    this.#over = true;
    this.holder = undefined;
    this.#decoder?.close();
    try {
      this.handler.onResponseError(this, fault);
    } catch (thrown) {
      this.#report(thrown);
    }
  }
}

/** A first-come, first-served queue. */
export class WaitingLine implements ExchangeHolder {
  readonly #count: CappedCount;
  #first: Exchange | undefined;
  #last: Exchange | undefined;

  constructor(max: number, ceilings: ContainerLimits) {
    this.#count = new CappedCount('net.waiting', max, 'refuse', ceilings);
  }

  get size(): number {
    return this.#count.size;
  }

  /** Adds an exchange. Returns false when the queue is full. */
  push(exchange: Exchange): boolean {
    if (!this.#count.take()) return false;
    exchange.holder = this;
    exchange.previous = this.#last;
    if (this.#last) this.#last.next = exchange;
    else this.#first = exchange;
    this.#last = exchange;
    return true;
  }

  shift(): Exchange | undefined {
    const first = this.#first;
    if (first) this.release(first);
    return first;
  }

  release(exchange: Exchange): void {
    const { previous, next } = exchange;
    if (previous) previous.next = next;
    else this.#first = next;
    if (next) next.previous = previous;
    else this.#last = previous;
    exchange.previous = undefined;
    exchange.next = undefined;
    exchange.holder = undefined;
    this.#count.give();
  }

  pace(): void {}

  /** Removes the queue from the list of containers. */
  [Symbol.dispose](): void {
    this.#count[Symbol.dispose]();
  }
}

export function faultFrom(thrown: unknown): Error {
  return thrown instanceof Error
    ? thrown
    : new Error('A handler threw a value that is not an Error.', { cause: thrown });
}

/**
 * One request on its way through a pool, and the line in which requests wait for a connection.
 * Promises: its handler hears the end exactly once, and nothing after it; `abort` ends it wherever it is, and frees its place at once;
 * what a handler throws is reported and reaches nobody else; the line has a ceiling, and leaving it is O(1).
 * Does not: read or write (`_http-socket.ts`).
 */

import type { HubError } from '../model/errors.ts';
import { CappedCount, type ContainerLimits } from '../runtime/capped.ts';
import { contentCoding, decodedHeaders } from './_content-coding.ts';
import { ContentDecoder, type DecoderSink, type DecodingMemory, UNDECODABLE } from './_content-decoder.ts';
import { malformed } from './_http-head.ts';
import type { RequestHead } from './_http-request.ts';
import type { ResponseController, ResponseHandler, ResponseHeaders } from './_http-types.ts';

/** Read and dropped behind the end of a coded body; a connection that brings more is given up. */
const SURPLUS_BYTES = 64 * 1024;

/** Who holds an exchange at present. */
export interface ExchangeHolder {
  /** Nobody wants it any more; it has left already when this returns. */
  release(exchange: Exchange): void;
  /** Reading stops or goes on. */
  pace(exchange: Exchange): void;
}

export class Exchange implements ResponseController, DecoderSink {
  head: RequestHead;
  /** It follows a redirect: it has started already, and follows no other. */
  isMoved = false;
  readonly body: Buffer | null;
  readonly handler: ResponseHandler;
  holder: ExchangeHolder | undefined;
  /** Neighbours in the line. */
  previous: Exchange | undefined;
  next: Exchange | undefined;
  #aborted = false;
  #paused = false;
  #over = false;
  #decoder: ContentDecoder | undefined;
  /** All that the server sends has come. */
  #isComplete = false;
  #isDecoded = false;
  #surplusBytes = 0;
  readonly #report: (fault: unknown) => void;

  /** `report` is told what the handler threw where nothing could be done about it. */
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

  /** Its handler has heard the end. */
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

  /** It is about to be written. False = its handler has ended it. */
  start(): boolean {
    try {
      if (!this.isMoved) this.handler.onRequestStart(this);
    } catch (fault) {
      this.fail(faultFrom(fault));
    }
    return !this.#over;
  }

  /** Status and fields of its answer. `memory` counts what decoding the body needs, in bytes. */
  begin(status: number, headers: ResponseHeaders, memory: DecodingMemory): void {
    const field = headers['content-encoding'];
    const coding = field === undefined || this.head.bodiless ? 'none' : contentCoding(field);
    // One that cannot be undone is its handler's to refuse.
    const isKnown = field !== undefined && coding !== undefined;
    if (isKnown && coding !== 'none') this.#decoder = new ContentDecoder(coding, memory, this);
    this.handler.onResponseStart(this, status, isKnown ? decodedHeaders(headers) : headers);
  }

  /** A piece of its answer's body. */
  data(piece: Buffer): void {
    const decoder = this.#decoder;
    if (!decoder) return this.handler.onResponseData(this, piece);
    if (!this.#isDecoded) return decoder.write(piece);
    this.#surplusBytes += piece.length;
    if (this.#surplusBytes > SURPLUS_BYTES)
      this.abort(malformed(UNDECODABLE, 'its body goes on behind the end of its content coding'));
  }

  /** What one read brought has been handed on: the decoder begins. */
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

  /** All of its answer has come. */
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

/** First come, first served. */
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

  /** False = full. */
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

  /** Takes it off the ceilings page. */
  [Symbol.dispose](): void {
    this.#count[Symbol.dispose]();
  }
}

export function faultFrom(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error('A handler threw something that is no error.', { cause: thrown });
}

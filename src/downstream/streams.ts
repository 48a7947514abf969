/**
 * Long SSE responses: GET streams and answers that became streams. Guarantees: a comment at least every
 * `streamKeepAliveMs`; a stream ends when its reader takes nothing for `streamSlowMs` or leaves more than
 * `streamBytes`; above `streamsBytes` those blocked longest end; none is older than `streamMs`; no key has more than
 * `streamsPerKey`, or evicts streams of a key that holds less.
 */
import type { ServerResponse } from 'node:http';
import type { Limits } from '../config/limits.ts';
import { isRefusal, type Outcome, Refusal } from '../model/outcome.ts';
import { sseEvent, sseEventPieces } from '../protocol/sse.ts';
import type { Access } from '../runtime/open-work.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { FairMap } from '../runtime/shares.ts';
import { markStream } from './connection.ts';

const SWEEP_MS = 1000;
/**
 * Without a blank line, after which clients of the Java SDK up to 0.11 count an event that never came; after 256 they
 * stop reading.
 */
const COMMENT = Buffer.from(':\n');
const EMPTY = Buffer.alloc(0);
/** From this size on a message is not copied into the queue of each stream: a thousand subscribers may get the same. */
const SHARED_BYTES = 4096;
const HEADERS = {
  'content-type': 'text/event-stream',
  'cache-control': 'no-cache, no-transform',
  'x-accel-buffering': 'no',
} as const;

interface StreamParts {
  readonly runtime: Runtime;
}

export class SseStream {
  readonly #response: ServerResponse;
  readonly #parts: StreamParts;
  readonly #closed: (reason: string) => void;
  readonly openedMs: number;
  readonly #keepAliveMs: number;
  #writtenMs: number;
  #blockedMs = -1;
  #over = false;
  #hasWritten = false;
  #lastWord: Buffer | undefined;
  #lastError: ((why: Refusal) => Buffer) | undefined;

  constructor(
    response: ServerResponse,
    parts: StreamParts & { keepAliveMs: number },
    closed: (reason: string) => void,
  ) {
    this.#response = response;
    this.#parts = parts;
    this.#closed = closed;
    this.openedMs = parts.runtime.clock.nowMs();
    this.#writtenMs = this.openedMs;
    this.#keepAliveMs = parts.keepAliveMs * (0.8 + 0.2 * parts.runtime.random());
  }

  /** Starts to watch its reader. */
  begin(): void {
    this.#response.on('drain', () => {
      this.#blockedMs = -1;
    });
    this.#response.on('close', () => this.#end('client-gone'));
    this.#response.on('error', () => this.#end('client-gone'));
  }

  /** Writes a comment unless an event was written: proxies and clients wait for the first byte. */
  ensureFirst(): void {
    if (!this.#hasWritten) this.#write(COMMENT);
  }

  get over(): boolean {
    return this.#over;
  }

  get unreadBytes(): number {
    return this.#response.writableLength;
  }

  /** Since when its reader has taken nothing, monotonic ms; −1 when it is reading. */
  get blockedMs(): number {
    return this.#blockedMs;
  }

  /**
   * Sends one JSON-RPC message as an event, with the id after which the client can resume. Returns false when the
   * stream has ended.
   */
  send(message: Buffer, eventId?: string): boolean {
    const event = { event: 'message', data: message, ...(eventId === undefined ? {} : { id: eventId }) };
    if (message.length < SHARED_BYTES || this.#over) return this.#write(sseEvent(event));
    this.#response.cork();
    for (const piece of sseEventPieces(event)) this.#write(piece);
    this.#response.uncork();
    return true;
  }

  /** Sends any other event. */
  event(name: string, data: Buffer): void {
    this.#write(sseEvent({ event: name, data }));
  }

  /** Sends an event without data, which gives the client an id for resumption before any message (2025-11-25). */
  prime(eventId: string): void {
    this.#write(sseEvent({ id: eventId, data: EMPTY }));
  }

  /** Sets the message that is sent when the hub ends the stream, and only then. */
  sendAtEnd(message: Buffer): void {
    this.#lastWord = message;
  }

  /** Sets the message that is sent instead when the caller's key is revoked, expires or is narrowed. */
  sendWhenRevoked(message: (why: Refusal) => Buffer): void {
    this.#lastError = message;
  }

  /** Ends it because its caller has lost access. Data that its reader has not taken yet is dropped. */
  revoke(why: Refusal): void {
    if (this.#over) return;
    if (this.unreadBytes > 0) return this.cut(why.code);
    this.#lastWord = this.#lastError?.(why);
    this.close(why.code);
  }

  /** Ends it from the hub's side, after the queued data. */
  close(reason: string): void {
    if (this.#over) return;
    if (this.#lastWord) this.send(this.#lastWord);
    this.#response.end();
    this.#end(reason);
  }

  /** Sends a keep-alive or closes it; called once a second. */
  look(nowMs: number, limits: Limits): void {
    if (this.#over) return;
    const slow = this.#blockedMs >= 0 && nowMs - this.#blockedMs > limits.streamSlowMs;
    if (slow || this.#response.writableLength > limits.streamBytes) this.cut('slow-reader');
    else if (nowMs - this.openedMs > limits.streamMs) this.close('too-old');
    else if (nowMs - this.#writtenMs >= this.#keepAliveMs && this.#blockedMs < 0) this.#write(COMMENT);
  }

  #write(bytes: Buffer): boolean {
    if (this.#over) return false;
    this.#hasWritten = true;
    this.#writtenMs = this.#parts.runtime.clock.nowMs();
    if (!this.#response.write(bytes) && this.#blockedMs < 0) this.#blockedMs = this.#writtenMs;
    return true;
  }

  /** Ends it at once, with all queued data. */
  cut(reason: string): void {
    this.#end(reason);
    this.#response.destroy();
  }

  #end(reason: string): void {
    if (this.#over) return;
    this.#over = true;
    this.#closed(reason);
  }
}

export interface StreamsParts {
  readonly runtime: Runtime;
  readonly limits: Limits;
}

export class Streams {
  readonly #parts: StreamsParts;
  /** An evicted stream was the oldest one of the owner that holds most. */
  readonly #streams: FairMap<SseStream, SseStream>;
  readonly #sweep: Disposable;

  constructor(parts: StreamsParts) {
    const { limits, runtime } = parts;
    this.#parts = parts;
    const bounds = { max: () => limits.streams, share: () => limits.streamsPerKey };
    this.#streams = new FairMap('downstream.streams', bounds, 'evict-greediest', runtime.ceilings, (stream) =>
      stream.close('too-many-streams'),
    );
    this.#sweep = runtime.timers.every(SWEEP_MS, () => {
      const nowMs = runtime.clock.nowMs();
      for (const stream of [...this.#streams.values()]) stream.look(nowMs, limits);
      this.#makeRoom();
    });
  }

  /**
   * Turns a response into a stream of `owner` (`shareOf`) that ends with the key of its caller. `closed` is called once
   * with the reason. An owner at its share is refused; at the total limit, the oldest stream of the owner that holds
   * most is closed.
   */
  open(
    response: ServerResponse,
    {
      owner,
      access,
      headers,
    }: {
      readonly owner: string;
      readonly access: Access;
      readonly headers?: Readonly<Record<string, string>>;
    },
    closed: (reason: string) => void,
  ): Outcome<SseStream> {
    const { limits, runtime } = this.#parts;
    if (response.destroyed) return new Refusal('client-gone');
    if (this.#streams.sizeOf(owner) >= Math.min(limits.streamsPerKey, limits.streams)) return this.#refusal();
    const open = runtime.openWork.add('stream', access);
    if (isRefusal(open)) return open;
    const stream = new SseStream(response, { runtime, keepAliveMs: limits.streamKeepAliveMs }, (reason) => {
      this.#streams.delete(stream);
      open.close();
      closed(reason);
    });
    // Counted before it listens to its response, so that a refused one leaves nothing behind.
    if (!this.#streams.set(owner, stream, stream)) {
      open.close();
      return this.#refusal();
    }
    stream.begin();
    open.onEnd((why) => stream.revoke(why));
    markStream(response);
    response.writeHead(200, { ...HEADERS, ...headers });
    runtime.timers.afterInput(() => stream.ensureFirst());
    return stream;
  }

  /** Ends all of them (drain). */
  closeAll(reason: string): void {
    for (const stream of [...this.#streams.values()]) stream.close(reason);
  }

  get size(): number {
    return this.#streams.size;
  }

  stop(): void {
    this.#sweep[Symbol.dispose]();
  }

  #refusal(): Refusal {
    const { limits } = this.#parts;
    if (limits.streams <= limits.streamsPerKey)
      return new Refusal('overloaded', `${limits.streams} streams are open.`, { setting: 'streams' });
    const why = `This key has ${limits.streamsPerKey} streams open.`;
    return new Refusal('key-busy', why, { setting: 'streamsPerKey' });
  }

  /** Closes streams while all together keep too much unread data. */
  #makeRoom(): void {
    const { limits } = this.#parts;
    let bytes = 0;
    for (const stream of this.#streams.values()) bytes += stream.unreadBytes;
    if (bytes <= limits.streamsBytes) return;
    const blocked = [...this.#streams.values()].filter(({ blockedMs }) => blockedMs >= 0);
    for (const stream of blocked.sort((a, b) => a.blockedMs - b.blockedMs)) {
      if (bytes <= limits.streamsBytes) return;
      bytes -= stream.unreadBytes;
      stream.cut('slow-reader');
    }
  }
}

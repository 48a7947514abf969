/**
 * Long SSE responses: GET streams and answers that became streams.
 * Promises: a comment at least every `streamKeepAliveMs`; a reader that takes nothing for `streamSlowMs` or leaves more than `streamBytes`
 * unread is cut, and when all together leave more than `streamsBytes` those that have been blocked longest; none is older than `streamMs`; one
 * sweep a second looks after all of them.
 * Does not: know sessions (`session/`) or what is sent.
 */
import type { ServerResponse } from 'node:http';
import type { Limits } from '../config/limits.ts';
import { CappedCount } from '../kernel/capped.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { type Outcome, Refusal } from '../kernel/outcome.ts';
import { sseEvent, sseEventPieces } from '../protocol/sse.ts';
import { markStream } from './connection.ts';
import type { SlowReaders } from './slow-reader.ts';

const SWEEP_MS = 1000;
const COMMENT = Buffer.from(':\n\n');
const EMPTY = Buffer.alloc(0);
/** From here on a message is not copied into the queue of each stream: a thousand subscribers may be told the same. */
const SHARED_BYTES = 4096;
const HEADERS = {
  'content-type': 'text/event-stream',
  'cache-control': 'no-cache, no-transform',
  'x-accel-buffering': 'no',
} as const;

interface StreamParts {
  readonly kernel: Kernel;
  readonly slowReaders: SlowReaders;
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
  #lastWord: Buffer | undefined;

  constructor(
    response: ServerResponse,
    parts: StreamParts & { keepAliveMs: number },
    closed: (reason: string) => void,
  ) {
    this.#response = response;
    this.#parts = parts;
    this.#closed = closed;
    this.openedMs = parts.kernel.clock.nowMs();
    this.#writtenMs = this.openedMs;
    this.#keepAliveMs = parts.keepAliveMs * (0.8 + 0.2 * parts.kernel.random());
    response.on('drain', () => {
      this.#blockedMs = -1;
    });
    response.on('close', () => this.#end('client-gone'));
    response.on('error', () => this.#end('client-gone'));
  }

  get over(): boolean {
    return this.#over;
  }

  get unreadBytes(): number {
    return this.#response.writableLength;
  }

  /** Since when its reader has taken nothing, ms of the clock; −1 = it takes. */
  get blockedMs(): number {
    return this.#blockedMs;
  }

  /** One JSON-RPC message as an event, with the id by which the client goes on after it. False = the stream is over. */
  send(message: Buffer, eventId?: string): boolean {
    const event = { event: 'message', data: message, ...(eventId === undefined ? {} : { id: eventId }) };
    if (message.length < SHARED_BYTES || this.#over) return this.#write(sseEvent(event));
    this.#response.cork();
    for (const piece of sseEventPieces(event)) this.#write(piece);
    this.#response.uncork();
    return true;
  }

  /** Any other event. */
  event(name: string, data: Buffer): void {
    this.#write(sseEvent({ event: name, data }));
  }

  /** An event without data, which gives the client an id to come back with before anything has been said (2025-11-25). */
  prime(eventId: string): void {
    this.#write(sseEvent({ id: eventId, data: EMPTY }));
  }

  /** A message that goes out when the stream is ended from our side, and only then. */
  sayAtEnd(message: Buffer): void {
    this.#lastWord = message;
  }

  /** Ends it from our side, after what is queued. */
  close(reason: string): void {
    if (this.#over) return;
    if (this.#lastWord) this.send(this.#lastWord);
    this.#response.end();
    // It leaves the sweep now; what is queued must leave too.
    this.#parts.slowReaders.watch(this.#response);
    this.#end(reason);
  }

  /** Keep-alive and cut; called once a second. */
  look(nowMs: number, limits: Limits): void {
    if (this.#over) return;
    const slow = this.#blockedMs >= 0 && nowMs - this.#blockedMs > limits.streamSlowMs;
    if (slow || this.#response.writableLength > limits.streamBytes) this.cut('slow-reader');
    else if (nowMs - this.openedMs > limits.streamMs) this.close('too-old');
    else if (nowMs - this.#writtenMs >= this.#keepAliveMs && this.#blockedMs < 0) this.#write(COMMENT);
  }

  #write(bytes: Buffer): boolean {
    if (this.#over) return false;
    this.#writtenMs = this.#parts.kernel.clock.nowMs();
    if (!this.#response.write(bytes) && this.#blockedMs < 0) this.#blockedMs = this.#writtenMs;
    return true;
  }

  /** Ends it at once, with all that is queued. */
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

export interface Streams {
  /** Turns a response into a stream. `closed` hears once why it ended. */
  open(
    response: ServerResponse,
    headers: Readonly<Record<string, string>>,
    closed: (reason: string) => void,
  ): Outcome<SseStream>;
  /** Ends all of them (drain). */
  closeAll(reason: string): void;
  readonly size: number;
  stop(): void;
}

export function createStreams(parts: { kernel: Kernel; limits: Limits; slowReaders: SlowReaders }): Streams {
  const { kernel, limits, slowReaders } = parts;
  const count = new CappedCount('downstream.streams', limits.streams, 'refuse', kernel.ceilings);
  const streams = new Set<SseStream>(); // bounded by: count
  const sweep = kernel.timers.every(SWEEP_MS, () => {
    const nowMs = kernel.clock.nowMs();
    for (const stream of [...streams]) stream.look(nowMs, limits);
    makeRoom();
  });

  /** Each may keep what its reader has not taken, while all together do not keep too much. */
  function makeRoom(): void {
    let bytes = 0;
    for (const stream of streams) bytes += stream.unreadBytes;
    if (bytes <= limits.streamsBytes) return;
    const blocked = [...streams].filter(({ blockedMs }) => blockedMs >= 0);
    for (const stream of blocked.sort((a, b) => a.blockedMs - b.blockedMs)) {
      if (bytes <= limits.streamsBytes) return;
      bytes -= stream.unreadBytes;
      stream.cut('slow-reader');
    }
  }

  return {
    open(response, headers, closed) {
      if (response.destroyed) return new Refusal('client-gone');
      // Counted first: a stream object listens to its response, and a refused one must leave nothing behind.
      if (!count.take()) return new Refusal('overloaded', `${count.max} streams are open.`, { setting: 'streams' });
      const stream = new SseStream(
        response,
        { kernel, slowReaders, keepAliveMs: limits.streamKeepAliveMs },
        (reason) => {
          if (streams.delete(stream)) count.give();
          closed(reason);
        },
      );
      streams.add(stream);
      markStream(response);
      response.writeHead(200, { ...HEADERS, ...headers });
      // Something must go out at once: proxies and clients wait for the first byte.
      response.write(COMMENT);
      return stream;
    },
    closeAll(reason) {
      for (const stream of [...streams]) stream.close(reason);
    },
    get size() {
      return streams.size;
    },
    stop() {
      sweep[Symbol.dispose]();
    },
  };
}

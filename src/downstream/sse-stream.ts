/**
 * One long SSE response. `streams.ts` opens, counts and sweeps all of them.
 * Guarantees: writes a comment at least every `keepAliveMs` while it is swept; knows since when its reader takes
 * nothing; ends once, and calls `closed` once, with the reason.
 */
import type { ServerResponse } from 'node:http';
import type { Limits } from '../config/limits.ts';
import type { Refusal } from '../model/outcome.ts';
import { sseEvent, sseEventPieces } from '../protocol/sse.ts';
import type { Runtime } from '../runtime/runtime.ts';

/**
 * Without a blank line, after which clients of the Java SDK up to 0.11 count an event that never came; after 256 they
 * stop reading.
 */
const COMMENT = Buffer.from(':\n');
const EMPTY = Buffer.alloc(0);
/** From this size on a message is not copied into the queue of each stream: a thousand subscribers may get the same. */
const SHARED_BYTES = 4096;

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

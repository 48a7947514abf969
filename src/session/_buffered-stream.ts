/**
 * Buffers the events of one resumable stream for a client that reconnects, and sends new events to its current
 * connection.
 * Guarantees: limited in number, bytes and time; of several connections the newest receives new events, and the others
 * stay open; nothing follows the final message.
 */
import type { Limits } from '../config/limits.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { TimerWheelEntry } from '../runtime/timer-wheel.ts';
import { STREAMS_PER_SESSION } from './_open-streams.ts';
import type { ResumableStream, StreamConnection } from './resumable-streams.ts';

/** Marks the final event of a stream in its event id: a client that has received it has everything. */
export const FINAL_EVENT = 'E';

interface BufferedEvent {
  readonly seq: number;
  readonly bytes: Buffer;
}

interface BufferedStreamParts {
  readonly runtime: Runtime;
  readonly limits: Limits;
  /** Reserves bytes. Returns false when there is no room. */
  readonly reserve: (amount: number) => boolean;
  readonly release: (amount: number) => void;
  readonly random: string;
  readonly isCall: boolean;
  readonly head: string;
  readonly tail: string;
  readonly onClosed: () => void;
}

export class BufferedStream implements ResumableStream {
  readonly random: string;
  readonly isCall: boolean;
  readonly #parts: BufferedStreamParts;
  #events: BufferedEvent[] = []; // bounded by: replayEvents, replayBytes
  #bytes = 0;
  #seq = 0;
  /** Newest last. */
  #connections: StreamConnection[] = []; // bounded by: STREAMS_PER_SESSION
  #finished = false;
  /** Number of the event with the final message; 0 = not sent yet. */
  #finalSeq = 0;
  /** Why the stream is closed; undefined = open. */
  #closeReason: string | undefined;
  /** The stream can no longer be resumed; its connections continue. */
  #isEvicted = false;
  #expiry: TimerWheelEntry | undefined;

  constructor(parts: BufferedStreamParts) {
    this.#parts = parts;
    this.random = parts.random;
    this.isCall = parts.isCall;
  }

  get firstId(): string {
    return this.#eventId(0);
  }

  /** Returns whether the event with this number is the final one. */
  isFinalEvent(seq: number): boolean {
    return this.#finished && seq >= this.#seq;
  }

  /** Whether the final message was too large to be buffered. */
  get hasLostFinalEvent(): boolean {
    return this.#finished && this.#events.at(-1)?.seq !== this.#seq;
  }

  send(message: Buffer): boolean {
    if (this.#finished || this.#closeReason !== undefined) return false;
    this.#seq += 1;
    this.#buffer({ seq: this.#seq, bytes: message });
    this.#connections.at(-1)?.send(message, this.#eventId(this.#seq));
    return true;
  }

  finish(message: Buffer): void {
    this.#finalSeq = this.#seq + 1;
    if (this.send(message)) this.#end('answered');
  }

  finishSilently(): void {
    if (!this.#finished && this.#closeReason === undefined) this.#end('cancelled');
  }

  #end(reason: string): void {
    this.#finished = true;
    this.#closeLive(reason);
    this.#scheduleExpiry();
  }

  attach(stream: StreamConnection, after: number): void {
    if (this.#closeReason !== undefined) return stream.close(this.#closeReason);
    this.#connections.push(stream);
    // Do not close the previous one: two clients that resume the same stream would close each other for ever.
    if (this.#connections.length > STREAMS_PER_SESSION) this.#connections.shift()?.close('replaced');
    this.#cancelExpiry();
    for (const { seq, bytes } of this.#events) if (seq > after) stream.send(bytes, this.#eventId(seq));
    if (!this.#finished) return;
    this.#closeLive('answered');
    this.#scheduleExpiry();
  }

  detach(stream: StreamConnection): void {
    const at = this.#connections.indexOf(stream);
    if (at < 0) return;
    this.#connections.splice(at, 1);
    if (this.#connections.length > 0) return;
    if (this.#isEvicted) this.close('too-many-streams');
    else this.#scheduleExpiry();
  }

  /** Frees the buffer, and closes the stream unless a client is connected. */
  evict(): void {
    this.#isEvicted = true;
    this.#parts.release(this.#bytes);
    this.#bytes = 0;
    this.#events = [];
    if (this.#connections.length === 0) this.close('too-many-streams');
  }

  close(reason: string): void {
    if (this.#closeReason !== undefined) return;
    this.#closeReason = reason;
    this.#cancelExpiry();
    this.#parts.release(this.#bytes);
    this.#bytes = 0;
    this.#events = [];
    this.#parts.onClosed();
    this.#closeLive(reason);
  }

  #closeLive(reason: string): void {
    const live = this.#connections;
    this.#connections = [];
    for (const stream of live) stream.close(reason);
  }

  #eventId(seq: number): string {
    const end = seq > 0 && seq === this.#finalSeq ? FINAL_EVENT : '';
    return `${this.#parts.head}${seq.toString(36)}${end}${this.#parts.tail}`;
  }

  /** Buffers an event. The newest may exceed the stream's share: it is the answer, and there is only one. */
  #buffer(event: BufferedEvent): void {
    const { limits, reserve } = this.#parts;
    while (
      this.#events.length > 0 &&
      (this.#events.length >= limits.replayEvents || this.#bytes + event.bytes.length > limits.replayBytes)
    )
      this.#dropOldest();
    if (this.#isEvicted || !reserve(event.bytes.length)) return;
    // Making room may have evicted this stream.
    if (this.#isEvicted) return this.#parts.release(event.bytes.length);
    this.#events.push(event);
    this.#bytes += event.bytes.length;
  }

  #dropOldest(): void {
    const oldest = this.#events.shift();
    if (!oldest) return;
    this.#bytes -= oldest.bytes.length;
    this.#parts.release(oldest.bytes.length);
  }

  #cancelExpiry(): void {
    if (this.#expiry) this.#parts.runtime.wheel.remove(this.#expiry);
    this.#expiry = undefined;
  }

  #scheduleExpiry(): void {
    const { runtime, limits } = this.#parts;
    if (this.#closeReason !== undefined) return;
    this.#cancelExpiry();
    this.#expiry = runtime.wheel.add(runtime.clock.nowMs() + limits.replayMs, () => this.close('too-old'));
  }
}

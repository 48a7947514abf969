/**
 * What a child says beside the protocol (stderr, stray stdout): always read, shown at a capped rate, its end kept.
 * Promises: the stream is drained whatever comes (a full pipe would block the child, reliability B1); at most 64 KiB a second are split into
 * lines and shown, the rest is counted and kept raw in the tail; more than 4 MiB a second slow the child down instead of the hub.
 * Does not: log. Lines go to `said`, the tail to whoever asks.
 */
import type { Readable } from 'node:stream';
import type { Kernel } from '../../kernel/kernel.ts';
import { LINE_CHARS, plainLine } from './plain-text.ts';

const SHOWN_BYTES = 64 * 1024;
const READ_BYTES = 4 * 1024 * 1024;
const SECOND_MS = 1000;
const CHUNKS = 128;

export interface SaidSink {
  readonly said: (line: string) => void;
  readonly alive: () => void;
}

export class SaidLines {
  readonly #kernel: Kernel;
  readonly #tailBytes: number;
  readonly #sink: SaidSink;
  #tail: Buffer[] = []; // bounded by: tailBytes in at most CHUNKS pieces
  #tailHeld = 0;
  #rest = '';
  #secondMs = Number.NEGATIVE_INFINITY;
  #shownBytes = 0;
  #readBytes = 0;
  #hiddenBytes = 0;
  #over = false;

  constructor(kernel: Kernel, tailBytes: number, sink: SaidSink) {
    this.#kernel = kernel;
    this.#tailBytes = tailBytes;
    this.#sink = sink;
  }

  /** Reads `stream` from now on. */
  drain(stream: Readable, prefix = ''): void {
    stream.on('error', () => {});
    stream.on('data', (chunk: Buffer) => this.#take(chunk, prefix, stream));
  }

  /** The last lines, oldest first, without control characters. */
  lines(): string[] {
    const held = Buffer.concat(this.#tail).subarray(-this.#tailBytes).toString('utf8');
    return held
      .split('\n')
      .map(plainLine)
      .filter((line) => line !== '');
  }

  /** Shows a last line that had no line end. */
  close(): void {
    if (this.#over) return;
    if (this.#rest !== '') this.#show(this.#rest, '');
    this.#rest = '';
    this.#over = true;
  }

  #take(chunk: Buffer, prefix: string, stream: Readable): void {
    if (this.#over) return;
    this.#tell(this.#sink.alive);
    this.#keep(chunk);
    this.#turnSecond();
    this.#readBytes += chunk.length;
    if (this.#readBytes > READ_BYTES) this.#slow(stream);
    if (this.#shownBytes + chunk.length > SHOWN_BYTES) {
      this.#hiddenBytes += chunk.length;
      this.#rest = '';
      return;
    }
    this.#shownBytes += chunk.length;
    const lines = (this.#rest + chunk.toString('utf8')).split('\n');
    this.#rest = (lines.pop() ?? '').slice(0, LINE_CHARS * 2);
    for (const line of lines) this.#show(line, prefix);
  }

  #show(raw: string, prefix: string): void {
    const line = plainLine(raw);
    if (line !== '') this.#tell(() => this.#sink.said(prefix + line));
  }

  /** A listener that throws must not end the process from a stream's handler. */
  #tell(told: () => void): void {
    try {
      told();
    } catch (fault) {
      this.#kernel.bus.publish({ type: 'task-faulted', task: 'output of a child', fault });
    }
  }

  #turnSecond(): void {
    const nowMs = this.#kernel.clock.nowMs();
    if (nowMs - this.#secondMs < SECOND_MS) return;
    const hidden = `(${this.#hiddenBytes} bytes of output not shown: more than 64 KiB/s)`;
    if (this.#hiddenBytes > 0) this.#tell(() => this.#sink.said(hidden));
    this.#secondMs = nowMs;
    this.#shownBytes = 0;
    this.#readBytes = 0;
    this.#hiddenBytes = 0;
  }

  #slow(stream: Readable): void {
    if (stream.isPaused()) return;
    stream.pause();
    const restMs = Math.max(0, this.#secondMs + SECOND_MS - this.#kernel.clock.nowMs());
    this.#kernel.timers.after(restMs, () => stream.resume());
  }

  #keep(chunk: Buffer): void {
    if (chunk.length >= this.#tailBytes) {
      this.#tail = [Buffer.from(chunk.subarray(-this.#tailBytes))];
      this.#tailHeld = this.#tailBytes;
      return;
    }
    this.#tail.push(chunk);
    this.#tailHeld += chunk.length;
    if (this.#tail.length > CHUNKS || this.#tailHeld > this.#tailBytes * 2) {
      this.#tail = [Buffer.from(Buffer.concat(this.#tail).subarray(-this.#tailBytes))];
      this.#tailHeld = this.#tail[0]?.length ?? 0;
    }
  }
}

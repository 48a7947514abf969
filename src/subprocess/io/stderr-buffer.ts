/**
 * Reads a child's output beside the protocol (stderr, stray stdout), shows it at a limited rate, and keeps its end.
 * Guarantees: the stream is always drained, because a full pipe would block the child; at most `stderrShownBytes` a
 * second are split into lines, at most `stderrShownLines` of them are shown, the rest is counted and kept in the tail;
 * more than `stderrReadBytes` a second slow the child down.
 */
import type { Readable } from 'node:stream';
import type { Limits } from '../../config/limits.ts';
import { CUT_CHARS } from '../../model/secret-mask.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import { LINE_CHARS, plainLine } from './plain-text.ts';

const SECOND_MS = 1000;
const LINE_FEED = 0x0a;
const CHUNKS = 128;

export interface StderrSink {
  readonly said: (line: string) => void;
  readonly alive: () => void;
}

export type StderrLimits = Pick<
  Limits,
  'stderrTailBytes' | 'stderrShownBytes' | 'stderrShownLines' | 'stderrReadBytes'
>;

export class StderrBuffer {
  readonly #runtime: Runtime;
  readonly #limits: StderrLimits;
  readonly #sink: StderrSink;
  #tail: Buffer[] = []; // bounded by: tailBytes in at most CHUNKS pieces
  #tailHeld = 0;
  #rest = '';
  #secondMs = Number.NEGATIVE_INFINITY;
  #shownBytes = 0;
  #shownLines = 0;
  #hiddenLines = 0;
  #readBytes = 0;
  #hiddenBytes = 0;
  #isTailCut = false;
  #isMidLine = false;
  #over = false;

  constructor(runtime: Runtime, limits: StderrLimits, sink: StderrSink) {
    this.#runtime = runtime;
    this.#limits = limits;
    this.#sink = sink;
  }

  /** Reads `stream` from now on. */
  drain(stream: Readable, prefix = ''): void {
    stream.on('error', () => {});
    stream.on('data', (chunk: Buffer) => this.#take(chunk, prefix, stream));
  }

  /** Returns the last lines, oldest first, without control characters. */
  lines(): string[] {
    const whole = Buffer.concat(this.#tail);
    const cut = this.#isTailCut || whole.length > this.#limits.stderrTailBytes;
    const held = this.#runtime.secrets.mask(whole.subarray(-this.#limits.stderrTailBytes).toString('utf8'));
    return (
      (cut ? withoutBeginning(held) : held)
        .split('\n')
        // Twice: a secret may contain escape sequences, and a long line is cut.
        .map((line) => this.#runtime.secrets.mask(plainLine(line)))
        .filter((line) => line !== '')
    );
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
    this.#notify(this.#sink.alive);
    this.#keep(chunk);
    this.#turnSecond();
    this.#readBytes += chunk.length;
    if (this.#readBytes > this.#limits.stderrReadBytes) this.#slow(stream);
    if (this.#shownBytes + chunk.length > this.#limits.stderrShownBytes) {
      this.#hiddenBytes += chunk.length;
      this.#rest = '';
      this.#isMidLine = chunk.at(-1) !== LINE_FEED;
      return;
    }
    this.#shownBytes += chunk.length;
    const lines = (this.#rest + chunk.toString('utf8')).split('\n');
    // The rest of a line whose beginning was not shown may be the rest of a secret.
    if (this.#isMidLine && lines.length > 1) {
      lines.shift();
      this.#isMidLine = false;
    }
    this.#rest = this.#isMidLine ? '' : (lines.pop() ?? '').slice(0, LINE_CHARS * 2);
    if (this.#isMidLine) return;
    for (const line of lines) this.#show(line, prefix);
  }

  #show(raw: string, prefix: string): void {
    if (this.#shownLines >= this.#limits.stderrShownLines) {
      this.#hiddenLines += 1;
      return;
    }
    this.#shownLines += 1;
    const line = plainLine(this.#runtime.secrets.mask(raw));
    if (line !== '') this.#notify(() => this.#sink.said(prefix + line));
  }

  /** Runs a listener. An exception in a stream's handler would end the process. */
  #notify(callback: () => void): void {
    try {
      callback();
    } catch (fault) {
      this.#runtime.bus.publish({ type: 'task-faulted', task: 'output of a child', fault });
    }
  }

  #turnSecond(): void {
    const nowMs = this.#runtime.clock.nowMs();
    if (nowMs - this.#secondMs < SECOND_MS) return;
    const { stderrShownBytes, stderrShownLines } = this.#limits;
    const hidden: string[] = []; // bounded by: two
    if (this.#hiddenBytes > 0)
      hidden.push(`${this.#hiddenBytes} bytes (more than stderrShownBytes, ${stderrShownBytes}/s)`);
    if (this.#hiddenLines > 0)
      hidden.push(`${this.#hiddenLines} lines (more than stderrShownLines, ${stderrShownLines}/s)`);
    if (hidden.length > 0) this.#notify(() => this.#sink.said(`(output not shown: ${hidden.join(', ')})`));
    this.#secondMs = nowMs;
    this.#shownBytes = 0;
    this.#shownLines = 0;
    this.#readBytes = 0;
    this.#hiddenBytes = 0;
    this.#hiddenLines = 0;
  }

  #slow(stream: Readable): void {
    if (stream.isPaused()) return;
    stream.pause();
    const restMs = Math.max(0, this.#secondMs + SECOND_MS - this.#runtime.clock.nowMs());
    this.#runtime.timers.after(restMs, () => stream.resume());
  }

  #keep(chunk: Buffer): void {
    if (chunk.length >= this.#limits.stderrTailBytes) {
      this.#isTailCut = true;
      this.#tail = [Buffer.from(chunk.subarray(-this.#limits.stderrTailBytes))];
      this.#tailHeld = this.#limits.stderrTailBytes;
      return;
    }
    this.#tail.push(chunk);
    this.#tailHeld += chunk.length;
    if (this.#tail.length > CHUNKS || this.#tailHeld > this.#limits.stderrTailBytes * 2) {
      this.#isTailCut ||= this.#tailHeld > this.#limits.stderrTailBytes;
      this.#tail = [Buffer.from(Buffer.concat(this.#tail).subarray(-this.#limits.stderrTailBytes))];
      this.#tailHeld = this.#tail[0]?.length ?? 0;
    }
  }
}

/** Returns text that was cut at its beginning from the next line on: the part before may belong to a secret. */
function withoutBeginning(text: string): string {
  const end = text.indexOf('\n');
  return text.slice(end >= 0 ? end + 1 : CUT_CHARS);
}

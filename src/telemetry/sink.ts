/**
 * The only writer to stdout. Lines are queued, written without blocking, and dropped when the reader is slow. A plain
 * write to a terminal that nobody reads would block the process.
 * Guarantees: `write` never blocks and never throws; at most `maxBytes` wait; only complete lines are dropped, and
 * their number is reported once when the reader continues; order is kept; the sink neither keeps the process alive nor
 * delays its exit. Imports node modules only, because the supervisor uses it too.
 */
import { type End, type EndKind, openEnd } from './_sink-ends.ts';

export interface SinkOptions {
  /** 1 or 2. */
  readonly fd: number;
  /** Bytes that may wait for the reader, read for each line. */
  readonly maxBytes: number | (() => number);
  /** Returns the line that reports how many lines were dropped, with its newline. Default: a JSON line. */
  readonly droppedLine?: (lines: number) => string;
}

export interface Sink {
  /** Takes a line with its newline. Returns false when it was dropped. */
  write(line: string): boolean;
  /** Returns the number of lines dropped since the start. */
  dropped(): number;
  /** Returns the number of bytes that wait. */
  waiting(): number;
  readonly kind: EndKind;
  /** Waits at most `ms` until the reader has taken the queue. Never rejects. */
  flush(ms: number): Promise<void>;
  /** Writes what can be written at once, and drops the rest. */
  close(): void;
}

/** Retry intervals in ms while the reader does not accept data. */
const RETRY_MS = 5;
const RETRY_CAP_MS = 250;
/** Pause in ms after a failed write (disk full, reader closed). */
const LOST_MS = 1000;
/**
 * Lines are collected for this long in ms, so that a busy hub does not pay a system call per line (measured: 6 % of a
 * call).
 */
const GATHER_MS = 10;
/** With this many bytes queued, writing starts without waiting for more lines. */
const GATHER_BYTES = 16_384;
/** Most bytes that are written per turn of the event loop. */
const TURN_BYTES = 262_144;

export function openSink(options: SinkOptions): Sink {
  return new QueuedSink(options, openEnd(options.fd));
}

function plainDroppedLine(lines: number): string {
  const msg = `${lines} log lines were dropped: the reader was too slow`;
  return `${JSON.stringify({ time: new Date().toISOString(), level: 'warn', msg, event: 'log-dropped', lines })}\n`;
}

class QueuedSink implements Sink {
  readonly #end: End;
  readonly #maxBytes: () => number;
  readonly #droppedLine: (lines: number) => string;
  #lines: string[] = []; // bounded by: maxBytes
  #head = 0;
  #bytes = 0;
  /** The part of the current chunk that was not written yet. */
  #chunk: Buffer | undefined;
  #chunkLines = 0;
  #isOffered = false;
  /** True when the timer waits for more lines, false when it waits for a retry. */
  #isGathering = false;
  #scheduled: NodeJS.Immediate | NodeJS.Timeout | undefined;
  #retryMs = RETRY_MS;
  #dropped = 0;
  #unreported = 0;
  #closed = false;
  readonly #atExit = (): void => this.#writeNow();

  constructor(options: SinkOptions, end: End) {
    this.#end = end;
    const { maxBytes } = options;
    this.#maxBytes = typeof maxBytes === 'number' ? () => maxBytes : maxBytes;
    this.#droppedLine = options.droppedLine ?? plainDroppedLine;
    process.on('exit', this.#atExit);
  }

  get kind(): EndKind {
    return this.#end.kind;
  }

  write(line: string): boolean {
    if (this.#closed) return this.#drop(1);
    const bytes = Buffer.byteLength(line);
    if (this.#bytes + bytes > this.#maxBytes()) return this.#drop(1);
    if (this.#unreported > 0 && !this.#reportDropped(bytes)) return this.#drop(1);
    this.#push(line, bytes);
    return true;
  }

  dropped(): number {
    return this.#dropped;
  }

  waiting(): number {
    return this.#bytes;
  }

  flush(ms: number): Promise<void> {
    const untilMs = performance.now() + ms;
    if (this.#isGathering) this.#turnSoon();
    return new Promise((resolve) => {
      const look = (): void => {
        if (this.#bytes === 0 || this.#closed || performance.now() >= untilMs) resolve();
        // Keeps the process alive only while someone waits for it.
        else setTimeout(look, 5);
      };
      look();
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#writeNow();
    this.#closed = true;
    process.off('exit', this.#atExit);
    this.#unschedule();
    this.#dropped += this.#lines.length - this.#head + this.#chunkLines;
    this.#lines = [];
    this.#head = 0;
    this.#bytes = 0;
    this.#end.close();
  }

  #drop(lines: number): false {
    this.#dropped += lines;
    this.#unreported += lines;
    return false;
  }

  /**
   * Inserts the notice where lines are missing. Returns false when there is no room yet for it and for a line of
   * `bytes`.
   */
  #reportDropped(bytes: number): boolean {
    const notice = this.#droppedLine(this.#unreported);
    const noticeBytes = Buffer.byteLength(notice);
    // Half of the queue must be free, so that each stall gives one notice, not one per gap.
    if (this.#bytes + bytes + noticeBytes > this.#maxBytes() / 2) return false;
    this.#unreported = 0;
    this.#push(notice, noticeBytes);
    return true;
  }

  #push(line: string, bytes: number): void {
    this.#lines.push(line);
    this.#bytes += bytes;
    // One write for all collected lines; a full reader is retried by the timer only.
    if (this.#isOffered) return;
    if (this.#scheduled === undefined) this.#gather();
    else if (this.#isGathering && this.#bytes >= GATHER_BYTES) this.#turnSoon();
  }

  #gather(): void {
    this.#isGathering = true;
    this.#scheduled = setTimeout(() => this.#turn(), GATHER_MS);
    this.#scheduled.unref();
  }

  #turnSoon(): void {
    this.#unschedule();
    this.#scheduled = setImmediate(() => this.#turn());
  }

  #unschedule(): void {
    clearImmediate(this.#scheduled as NodeJS.Immediate);
    clearTimeout(this.#scheduled as NodeJS.Timeout);
    this.#scheduled = undefined;
    this.#isGathering = false;
  }

  #turn(): void {
    this.#scheduled = undefined;
    this.#isGathering = false;
    let budget = TURN_BYTES;
    while (budget > 0 && !this.#isOffered && !this.#closed && this.#load()) {
      const chunk = this.#chunk as Buffer;
      budget -= chunk.length;
      this.#isOffered = true;
      this.#end.offer(chunk, (taken) => this.#answered(taken));
      if (this.#scheduled !== undefined) return;
    }
    if (!this.#isOffered && this.#bytes > 0 && !this.#closed && this.#scheduled === undefined)
      this.#scheduled = setImmediate(() => this.#turn());
  }

  #answered(taken: number | 'full' | 'lost'): void {
    this.#isOffered = false;
    if (this.#closed) return;
    if (taken === 'full') return this.#later(this.#retryMs);
    if (taken === 'lost') {
      this.#bytes -= this.#chunk?.length ?? 0;
      this.#drop(this.#chunkLines);
      this.#unload();
      return this.#later(LOST_MS);
    }
    this.#retryMs = RETRY_MS;
    this.#bytes -= taken;
    if (this.#chunk && taken < this.#chunk.length) this.#chunk = this.#chunk.subarray(taken);
    else this.#unload();
    if (this.#bytes === 0 && this.#unreported > 0) this.#reportDropped(0);
    // An asynchronous write returns here in a turn of its own.
    if (this.#bytes > 0 && this.#scheduled === undefined && this.#end.isAsync)
      this.#scheduled = setImmediate(() => this.#turn());
  }

  #later(ms: number): void {
    this.#unschedule();
    this.#scheduled = setTimeout(() => this.#turn(), ms);
    this.#scheduled.unref();
    this.#retryMs = Math.min(this.#retryMs * 2, RETRY_CAP_MS);
  }

  /** Builds the next chunk of complete lines. Returns false when nothing waits. */
  #load(): boolean {
    if (this.#chunk) return true;
    const some: string[] = [];
    let bytes = 0;
    for (let line = this.#lines[this.#head]; line !== undefined; line = this.#lines[this.#head]) {
      bytes += Buffer.byteLength(line);
      if (some.length > 0 && bytes > this.#end.chunkBytes) break;
      some.push(line);
      this.#lines[this.#head] = '';
      this.#head += 1;
    }
    if (this.#head > 1024 || this.#head === this.#lines.length) {
      this.#lines = this.#lines.slice(this.#head);
      this.#head = 0;
    }
    if (some.length === 0) return false;
    this.#chunk = Buffer.from(some.join(''));
    this.#chunkLines = some.length;
    return true;
  }

  #unload(): void {
    this.#chunk = undefined;
    this.#chunkLines = 0;
  }

  /** The process exits in this turn: writes what the reader accepts at once, without waiting. */
  #writeNow(): void {
    if (this.#closed) return;
    // What is being written asynchronously already belongs to the system.
    if (this.#isOffered) this.#unload();
    while (this.#load()) {
      const taken = this.#end.writeNow(this.#chunk as Buffer);
      if (taken <= 0) return;
      this.#bytes -= taken;
      if (this.#chunk && taken < this.#chunk.length) this.#chunk = this.#chunk.subarray(taken);
      else this.#unload();
    }
  }
}

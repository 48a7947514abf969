/**
 * The one door to stdout: an outside system like any other. Lines are queued, written without blocking, and dropped when the reader is slow.
 * Promises: `write` never blocks and never throws; at most `maxBytes` wait; whole lines are dropped and counted, and the count is told once
 * when the reader is back; order is kept; nothing here keeps the process alive or from exiting. node:* only: the supervisor uses it too.
 * Does not: format lines (`log.ts`) or know what fd it writes to (`_sink-ends.ts`).
 * Source: reliability.md F1: a terminal that nobody reads stops a process that writes to it in the plain way.
 */
import { type End, type EndKind, openEnd } from './_sink-ends.ts';

export interface SinkOptions {
  /** 1 or 2. */
  readonly fd: number;
  /** Bytes that may wait for the reader. */
  readonly maxBytes: number;
  /** The line that tells how many were dropped; with its newline. Default: a JSON line. */
  readonly droppedLine?: (lines: number) => string;
}

export interface Sink {
  /** Takes a line with its newline. False = dropped. */
  write(line: string): boolean;
  /** Lines dropped since the start. */
  dropped(): number;
  /** Bytes that wait now. */
  waiting(): number;
  readonly kind: EndKind;
  /** Waits at most `ms` for the reader to take what is queued. Never rejects. */
  flush(ms: number): Promise<void>;
  /** Writes what can be written at once, and drops the rest. */
  close(): void;
}

/** Retries of a reader that is full. */
const RETRY_MS = 5;
const RETRY_CAP_MS = 250;
/** Rest after a write that failed (disk full, reader gone). */
const LOST_MS = 1000;
/** Lines are gathered for this long, so that a busy hub does not pay a system call for each: measured 6 % of a call. */
const GATHER_MS = 10;
/** No waiting for more once this much is there. */
const GATHER_BYTES = 16_384;
/** Bytes written in one turn of the loop. */
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
  readonly #maxBytes: number;
  readonly #droppedLine: (lines: number) => string;
  #lines: string[] = []; // bounded by: maxBytes
  #head = 0;
  #bytes = 0;
  /** The chunk on its way, as far as it is not taken. */
  #chunk: Buffer | undefined;
  #chunkLines = 0;
  #isOffered = false;
  /** The schedule is the wait for more lines, not a retry. */
  #isGathering = false;
  #scheduled: NodeJS.Immediate | NodeJS.Timeout | undefined;
  #retryMs = RETRY_MS;
  #dropped = 0;
  #untold = 0;
  #closed = false;
  readonly #atExit = (): void => this.#writeNow();

  constructor(options: SinkOptions, end: End) {
    this.#end = end;
    this.#maxBytes = options.maxBytes;
    this.#droppedLine = options.droppedLine ?? plainDroppedLine;
    process.on('exit', this.#atExit);
  }

  get kind(): EndKind {
    return this.#end.kind;
  }

  write(line: string): boolean {
    if (this.#closed) return this.#drop(1);
    const bytes = Buffer.byteLength(line);
    if (this.#bytes + bytes > this.#maxBytes) return this.#drop(1);
    if (this.#untold > 0 && !this.#tellDropped(bytes)) return this.#drop(1);
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
        // Holds the process for as long as it is waited for, and no longer.
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
    this.#untold += lines;
    return false;
  }

  /** Puts the notice where the lines are missing. False = no room yet for it and a line of `bytes`. */
  #tellDropped(bytes: number): boolean {
    const notice = this.#droppedLine(this.#untold);
    const noticeBytes = Buffer.byteLength(notice);
    // Half of the queue must be free again: one notice a stall, not one for each gap of a line.
    if (this.#bytes + bytes + noticeBytes > this.#maxBytes / 2) return false;
    this.#untold = 0;
    this.#push(notice, noticeBytes);
    return true;
  }

  #push(line: string, bytes: number): void {
    this.#lines.push(line);
    this.#bytes += bytes;
    // One write for all lines of a while; a reader that is full is asked again by the timer only.
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
    if (this.#bytes === 0 && this.#untold > 0) this.#tellDropped(0);
    // An asynchronous end comes back here in a turn of its own.
    if (this.#bytes > 0 && this.#scheduled === undefined && this.#end.isAsync)
      this.#scheduled = setImmediate(() => this.#turn());
  }

  #later(ms: number): void {
    this.#unschedule();
    this.#scheduled = setTimeout(() => this.#turn(), ms);
    this.#scheduled.unref();
    this.#retryMs = Math.min(this.#retryMs * 2, RETRY_CAP_MS);
  }

  /** Makes the next chunk of whole lines. False = nothing waits. */
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

  /** The process ends in this turn: what the reader takes at once is written, without waiting. */
  #writeNow(): void {
    if (this.#closed) return;
    // What is on its way asynchronously is the system's already.
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

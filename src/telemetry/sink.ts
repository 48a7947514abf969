/**
 * Where log lines leave the process. The reader of a log is an outside system: it may stop reading, vanish, or fill its disk.
 * Promises: `write` never blocks and never throws; at most `maxBytes` wait in memory, more is dropped in whole lines and counted; order is
 * kept; when the reader comes back one line tells how many were lost; nothing here keeps the process alive, except `flush` for its own time.
 * Does not: format (`log.ts`) or know how each kind of reader is reached (`sink-outlets.ts`). node:* only: the guard uses it too.
 */
import { BUSY, GONE, type Outlet, openOutlet, REFUSED, type SinkKind } from './sink-outlets.ts';

export interface Sink {
  /** What stands behind the descriptor. */
  readonly kind: SinkKind;
  /** Queues one line; a missing line end is added. False = it was dropped and counted. */
  write(line: string): boolean;
  /** Lines lost since the start. */
  dropped(): number;
  /** Resolves when all is written, or after `ms`. Keeps the process alive until then. */
  flush(ms: number): Promise<void>;
  /** Writes what the reader takes at once, counts the rest as lost, and lets go. Idempotent. */
  close(): void;
}

export interface SinkOptions {
  readonly fd: number;
  /** Most bytes that wait for the reader. */
  readonly maxBytes: number;
  /** Hears how many lines were lost once there is room again, and writes a line about it. Without it the sink writes its own. */
  readonly onDropped?: (lines: number) => void;
}

const LINE_END = 10;
/** Pipes take pieces of this size whole or not at all, so that lines of several processes do not mix. */
const PIECE_BYTES = 4096;
const FIRST_QUEUE_BYTES = 64 * 1024;
/** Longest time for writing in one turn of the loop. */
const TURN_MS = 3;
/** Waiting lines that are written at once instead of in the next turn. */
const EAGER_BYTES = 32 * 1024;
const FIRST_REST_MS = 4;
const LONGEST_REST_MS = 64;

/** Opens a sink on a descriptor, mostly 1. Never fails: a descriptor that cannot be written counts every line as lost. */
export function openSink(options: SinkOptions): Sink {
  return new QueuedSink(options);
}

class QueuedSink implements Sink {
  readonly #maxBytes: number;
  readonly #onDropped: ((lines: number) => void) | undefined;
  readonly #outlet: Outlet;
  readonly #atExit = (): void => this.close();
  #queue: Buffer;
  #head = 0;
  #tail = 0;
  #dropped = 0;
  /** Lost lines that no line has told of yet. */
  #untold = 0;
  /** Full once: everything is dropped until half is free, so that one line can tell of one gap. */
  #full = false;
  #closed = false;
  #soon: NodeJS.Immediate | undefined;
  #rest: NodeJS.Timeout | undefined;
  #restMs = FIRST_REST_MS;
  #triedMs = 0;
  #flushing: (() => void)[] = []; // bounded by: callers of flush, each for its own time

  constructor({ fd, maxBytes, onDropped }: SinkOptions) {
    this.#maxBytes = maxBytes;
    this.#onDropped = onDropped;
    this.#queue = Buffer.allocUnsafeSlow(Math.min(FIRST_QUEUE_BYTES, maxBytes));
    this.#outlet = openOutlet(fd, {
      ready: () => this.#pump(),
      lost: (lines) => this.#lose(lines),
    });
    process.once('exit', this.#atExit);
  }

  get kind(): SinkKind {
    return this.#outlet.kind;
  }

  dropped(): number {
    return this.#dropped;
  }

  write(line: string): boolean {
    if (this.#closed || this.#full) {
      this.#lose(1);
      return false;
    }
    const ended = line.endsWith('\n');
    const bytes = Buffer.byteLength(line) + (ended ? 0 : 1);
    if (!this.#makeRoom(bytes)) {
      this.#full = true;
      this.#lose(1);
      this.#schedule();
      return false;
    }
    this.#tail += this.#queue.write(line, this.#tail);
    if (!ended) this.#queue[this.#tail++] = LINE_END;
    if (this.#tail - this.#head >= EAGER_BYTES && performance.now() - this.#triedMs > 1) this.#pump();
    else this.#schedule();
    return true;
  }

  flush(ms: number): Promise<void> {
    this.#pump();
    if (this.#idle) return Promise.resolve();
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        clearInterval(look);
        this.#flushing = this.#flushing.filter((other) => other !== done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      // The retry timer is unref'ed; this one keeps the loop turning, and asks sooner.
      const look = setInterval(() => this.#pump(), FIRST_REST_MS);
      this.#flushing = [...this.#flushing, done];
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#pump();
    this.#closed = true;
    process.removeListener('exit', this.#atExit);
    clearImmediate(this.#soon);
    clearTimeout(this.#rest);
    if (this.#tail > this.#head) {
      this.#outlet.last(this.#queue.subarray(this.#head, this.#tail));
      this.#head = this.#tail;
    }
    this.#outlet.close();
    for (const done of this.#flushing) done();
  }

  get #idle(): boolean {
    return this.#closed || (this.#head === this.#tail && this.#outlet.pending() === 0);
  }

  /** True = `bytes` fit behind the tail now. Moves or doubles the queue when that helps. */
  #makeRoom(bytes: number): boolean {
    const used = this.#tail - this.#head;
    if (used + bytes > this.#maxBytes) return false;
    if (this.#tail + bytes <= this.#queue.length) return true;
    let length = this.#queue.length;
    while (length < used + bytes || (length < this.#maxBytes && length < used * 2)) length *= 2;
    const next = length > this.#queue.length ? Buffer.allocUnsafeSlow(Math.min(length, this.#maxBytes)) : this.#queue;
    this.#queue.copy(next, 0, this.#head, this.#tail);
    this.#queue = next;
    this.#head = 0;
    this.#tail = used;
    return true;
  }

  #schedule(): void {
    if (this.#soon || this.#rest || this.#closed) return;
    this.#soon = setImmediate(() => {
      this.#soon = undefined;
      this.#pump();
    }).unref();
  }

  /** Hands the outlet what it takes, for at most TURN_MS. */
  #pump(): void {
    if (this.#closed) return;
    const startMs = performance.now();
    this.#triedMs = startMs;
    while (this.#head < this.#tail) {
      const took = this.#outlet.offer(this.#nextPiece());
      if (took === BUSY) return this.#restAWhile();
      this.#restMs = FIRST_REST_MS;
      if (took === GONE) this.#forgetAll();
      else if (took === REFUSED) this.#refusePiece();
      else this.#head += took;
      if (performance.now() - startMs > TURN_MS) break;
    }
    if (this.#head < this.#tail) return this.#schedule();
    this.#head = 0;
    this.#tail = 0;
    this.#tell();
    if (this.#idle) for (const done of this.#flushing) done();
  }

  /** Whole lines up to the outlet's piece; a longer line goes alone in several pieces. */
  #nextPiece(): Buffer {
    const limit = this.#outlet.pieceBytes ?? PIECE_BYTES;
    if (this.#tail - this.#head <= limit) return this.#queue.subarray(this.#head, this.#tail);
    const end = this.#queue.subarray(this.#head, this.#head + limit).lastIndexOf(LINE_END);
    return this.#queue.subarray(this.#head, this.#head + (end < 0 ? limit : end + 1));
  }

  #restAWhile(): void {
    this.#tell();
    if (this.#outlet.wakes || this.#rest) return;
    this.#rest = setTimeout(() => {
      this.#rest = undefined;
      this.#pump();
    }, this.#restMs).unref();
    this.#restMs = Math.min(this.#restMs * 2, LONGEST_REST_MS);
  }

  /** The reader takes nothing of this piece and never will (disk full): its lines are lost. */
  #refusePiece(): void {
    const piece = this.#nextPiece();
    this.#lose(countLines(piece));
    this.#head += piece.length;
  }

  #forgetAll(): void {
    this.#lose(countLines(this.#queue.subarray(this.#head, this.#tail)));
    this.#head = this.#tail;
  }

  #lose(lines: number): void {
    this.#dropped += lines;
    this.#untold += lines;
  }

  /** Tells of a gap once half of the queue is free, unless nobody would hear it. */
  #tell(): void {
    if (this.#tail - this.#head > this.#maxBytes / 2) return;
    this.#full = false;
    if (this.#untold === 0 || !this.#outlet.hears()) return;
    const lines = this.#untold;
    this.#untold = 0;
    if (this.#onDropped) this.#onDropped(lines);
    else this.write(gapLine(lines));
  }
}

function gapLine(lines: number): string {
  return JSON.stringify({
    level: 'warn',
    time: new Date().toISOString(),
    service: 'mcphub',
    event: 'log-dropped',
    lines,
    msg: `${lines} log lines were dropped because nobody read them`,
  });
}

/** Lines that end in `bytes`; an unfinished one counts too. */
export function countLines(bytes: Uint8Array): number {
  let lines = 0;
  for (let at = bytes.indexOf(LINE_END); at >= 0; at = bytes.indexOf(LINE_END, at + 1)) lines += 1;
  return bytes.length > 0 && bytes[bytes.length - 1] !== LINE_END ? lines + 1 : lines;
}

/**
 * How each kind of log reader is reached without ever waiting for it: pipe and terminal through an own non-blocking descriptor, a file by
 * ordered asynchronous appends, a socket by a capped stream, other devices directly.
 * Promises: `offer` returns at once; what it took comes out in order; the descriptor of the process itself is never closed nor changed.
 * Does not: queue or count (`sink.ts`).
 */
import { closeSync, constants, fstatSync, openSync, write, writeSync } from 'node:fs';
import { Socket } from 'node:net';
import { isatty } from 'node:tty';
import type { Writable } from 'node:stream';

export type SinkKind = 'pipe' | 'terminal' | 'file' | 'socket' | 'device' | 'stream' | 'none';

/** Takes nothing now; try later. */
export const BUSY = -1;
/** Nobody is there any more. */
export const GONE = -2;
/** Takes nothing of this piece (disk full); later ones may fit. */
export const REFUSED = -3;

export interface Outlet {
  readonly kind: SinkKind;
  /** Largest piece; undefined = the sink's. */
  readonly pieceBytes: number | undefined;
  /** True = it calls `ready` after BUSY; false = it has to be asked again. */
  readonly wakes: boolean;
  /** Bytes taken (> 0), or BUSY, GONE, REFUSED. Copies what it keeps. */
  offer(piece: Buffer): number;
  /** Bytes taken that have not left yet. */
  pending(): number;
  /** False = a line about lost lines would be lost too. */
  hears(): boolean;
  /** The process ends: writes of the rest what goes without waiting. */
  last(rest: Buffer): void;
  close(): void;
}

export interface OutletEvents {
  /** There is room again. */
  ready(): void;
  /** Lines that were taken and then lost. */
  lost(lines: number): void;
}

const PIECE_BYTES = 64 * 1024;
/** A file write that lasts longer than this says that the disk does not answer. */
const SLOW_DISK_MS = 100;

/** Never throws; what cannot be opened is an outlet that is gone. */
export function openOutlet(fd: number, events: OutletEvents): Outlet {
  try {
    const kind = kindOf(fd);
    if (process.platform !== 'linux') return new StreamOutlet('stream', standardStream(fd), events);
    switch (kind) {
      case 'pipe':
        return openPipe(fd, events);
      case 'terminal':
        return new DirectOutlet(kind, openTerminal(fd));
      case 'device':
        return new DirectOutlet(kind, reopen(fd, constants.O_NONBLOCK));
      case 'file':
        return openFile(fd, events);
      case 'socket':
        return new StreamOutlet(kind, socketOn(fd), events);
      default:
        return new NoOutlet();
    }
  } catch {
    return new NoOutlet();
  }
}

function kindOf(fd: number): SinkKind {
  const stat = fstatSync(fd);
  if (stat.isFIFO()) return 'pipe';
  if (stat.isSocket()) return 'socket';
  if (stat.isFile() || stat.isBlockDevice()) return 'file';
  return isatty(fd) ? 'terminal' : 'device';
}

/** An own open file description, so that O_NONBLOCK does not reach those who share the descriptor. */
function reopen(fd: number, flags: number): number {
  return openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_NOCTTY | flags);
}

function openPipe(fd: number, events: OutletEvents): Outlet {
  try {
    return new DirectOutlet('pipe', reopen(fd, constants.O_NONBLOCK));
  } catch (fault) {
    // After a change of user the pipe may belong to somebody else.
    if (codeOf(fault) === 'EACCES') return new StreamOutlet('pipe', socketOn(fd), events);
    throw fault;
  }
}

function openTerminal(fd: number): number {
  try {
    return reopen(fd, constants.O_NONBLOCK);
  } catch {
    // The terminal may belong to another user; the controlling terminal may be opened by anybody who has one.
    return openSync('/dev/tty', constants.O_WRONLY | constants.O_NOCTTY | constants.O_NONBLOCK);
  }
}

function openFile(fd: number, events: OutletEvents): Outlet {
  try {
    return new FileOutlet(reopen(fd, constants.O_APPEND), true, events);
  } catch {
    return new FileOutlet(fd, false, events);
  }
}

function socketOn(fd: number): Socket {
  const socket = new Socket({ fd, readable: false, writable: true });
  socket.unref();
  return socket;
}

function standardStream(fd: number): Writable {
  return fd === 2 ? process.stderr : process.stdout;
}

function codeOf(fault: unknown): string {
  return (fault as NodeJS.ErrnoException | undefined)?.code ?? '';
}

function isFull(code: string): boolean {
  return code === 'ENOSPC' || code === 'EDQUOT' || code === 'EFBIG';
}

/** A non-blocking descriptor, written in the same turn. */
class DirectOutlet implements Outlet {
  readonly kind: SinkKind;
  readonly pieceBytes = undefined;
  readonly wakes = false;
  readonly #fd: number;
  #gone = false;
  #refused = false;

  constructor(kind: SinkKind, fd: number) {
    this.kind = kind;
    this.#fd = fd;
  }

  offer(piece: Buffer): number {
    if (this.#gone) return GONE;
    try {
      const took = writeSync(this.#fd, piece);
      this.#refused = false;
      return took > 0 ? took : BUSY;
    } catch (fault) {
      const code = codeOf(fault);
      if (code === 'EAGAIN' || code === 'EINTR') return BUSY;
      this.#refused = true;
      if (isFull(code)) return REFUSED;
      this.#gone = true;
      return GONE;
    }
  }

  pending(): number {
    return 0;
  }

  hears(): boolean {
    return !this.#gone && !this.#refused;
  }

  last(): void {
    // The pump has just tried; who takes no more now is not waited for.
  }

  close(): void {
    this.#gone = true;
    closeSync(this.#fd);
  }
}

/** A regular file: one append at a time. */
class FileOutlet implements Outlet {
  readonly kind = 'file';
  readonly pieceBytes = PIECE_BYTES;
  readonly wakes = true;
  readonly #fd: number;
  readonly #own: boolean;
  readonly #events: OutletEvents;
  #pending = 0;
  #sinceMs = 0;
  #torn = false;
  #refused = false;
  #closed = false;

  constructor(fd: number, own: boolean, events: OutletEvents) {
    this.#fd = fd;
    this.#own = own;
    this.#events = events;
  }

  offer(piece: Buffer): number {
    if (this.#pending > 0) return BUSY;
    // After half a line (disk full) the next one begins on its own line.
    const bytes = this.#torn ? Buffer.concat([Buffer.from('\n'), piece]) : Buffer.from(piece);
    this.#torn = false;
    this.#pending = bytes.length;
    this.#sinceMs = performance.now();
    this.#append(bytes);
    return piece.length;
  }

  #append(bytes: Buffer): void {
    write(this.#fd, bytes, (fault, written) => {
      const rest = bytes.subarray(fault ? 0 : written);
      if (!fault && rest.length > 0 && written > 0) return this.#append(rest);
      this.#refused = rest.length > 0;
      if (this.#refused) {
        this.#torn ||= rest.length < this.#pending;
        this.#events.lost(linesIn(rest));
      }
      this.#pending = 0;
      if (this.#closed) this.#release();
      else this.#events.ready();
    });
  }

  pending(): number {
    return this.#pending;
  }

  hears(): boolean {
    return !this.#refused;
  }

  last(rest: Buffer): void {
    if (this.#pending > 0 && performance.now() - this.#sinceMs > SLOW_DISK_MS) return this.#events.lost(linesIn(rest));
    try {
      writeSync(this.#fd, rest);
    } catch {
      this.#events.lost(linesIn(rest));
    }
  }

  close(): void {
    this.#closed = true;
    if (this.#pending === 0) this.#release();
  }

  #release(): void {
    if (this.#own) closeSync(this.#fd);
  }
}

/** A stream that buffers: a socket, or what the platform offers. At most PIECE_BYTES and one piece wait in it. */
class StreamOutlet implements Outlet {
  readonly kind: SinkKind;
  readonly pieceBytes = PIECE_BYTES;
  readonly wakes = true;
  readonly #stream: Writable;
  readonly #events: OutletEvents;
  #gone = false;

  constructor(kind: SinkKind, stream: Writable, events: OutletEvents) {
    this.kind = kind;
    this.#stream = stream;
    this.#events = events;
    const gone = (): void => {
      if (this.#gone) return;
      this.#gone = true;
      events.ready();
    };
    stream.on('error', gone);
    stream.on('close', gone);
  }

  offer(piece: Buffer): number {
    if (this.#gone) return GONE;
    if (this.#stream.writableLength > 0) return BUSY;
    this.#stream.write(Buffer.from(piece), () => this.#events.ready());
    return piece.length;
  }

  pending(): number {
    return this.#gone ? 0 : this.#stream.writableLength;
  }

  hears(): boolean {
    return !this.#gone;
  }

  last(rest: Buffer): void {
    if (this.#gone || this.#stream.writableLength > 0) this.#events.lost(linesIn(rest));
    else this.#stream.write(Buffer.from(rest));
  }

  close(): void {
    this.#gone = true;
  }
}

/** Nothing to write to. */
class NoOutlet implements Outlet {
  readonly kind = 'none';
  readonly pieceBytes = undefined;
  readonly wakes = false;
  offer(): number {
    return GONE;
  }
  pending(): number {
    return 0;
  }
  hears(): boolean {
    return false;
  }
  last(): void {}
  close(): void {}
}

function linesIn(bytes: Uint8Array): number {
  let lines = bytes.length > 0 && bytes[bytes.length - 1] !== 10 ? 1 : 0;
  for (const byte of bytes) if (byte === 10) lines += 1;
  return lines;
}

/**
 * Opens stdout, whatever it is, for writing that never waits for its reader. `sink.ts` queues and counts.
 * Guarantees: a pipe or terminal is reopened as a separate non-blocking description, so that the flags of other
 * processes that share it do not change; files are appended to in the background; sockets are written through Node's
 * own queue, one chunk at a time.
 */
import { close, constants, fstatSync, openSync, write, writeSync } from 'node:fs';
import { Socket } from 'node:net';
import { isatty } from 'node:tty';

export type EndKind = 'pipe' | 'terminal' | 'file' | 'socket';
/** Bytes written; `full`: the reader is slow, retry later; `lost`: cannot be written (disk full, reader closed). */
export type Taken = number | 'full' | 'lost';

export interface End {
  readonly kind: EndKind;
  /** Most bytes in a chunk; a longer line forms a chunk of its own. */
  readonly chunkBytes: number;
  /** True when writes complete in a later turn of the event loop. */
  readonly isAsync: boolean;
  offer(chunk: Buffer, answer: (taken: Taken) => void): void;
  /** Writes in this turn. Returns the bytes written, possibly 0. */
  writeNow(chunk: Buffer): number;
  close(): void;
}

/** POSIX: a write of at most PIPE_BUF bytes is atomic, so lines of several processes do not mix. */
const PIPE_BUF = 4096;
const CHUNK_BYTES = 65_536;
const { O_WRONLY, O_NONBLOCK, O_NOCTTY, O_APPEND } = constants;

export function openEnd(fd: number): End {
  const facts = fstatOf(fd);
  if (facts?.isSocket()) return socketEnd(fd, 'socket');
  if (facts?.isFIFO()) {
    const own = reopen(fd, O_WRONLY | O_NONBLOCK | O_NOCTTY);
    // Cannot be reopened (another user's pipe, or not Linux): Node makes it non-blocking for all who share it.
    return own === undefined ? socketEnd(fd, 'pipe') : nonBlockingEnd(own, 'pipe');
  }
  if (isatty(fd)) {
    const own = reopen(fd, O_WRONLY | O_NONBLOCK | O_NOCTTY) ?? open('/dev/tty', O_WRONLY | O_NONBLOCK | O_NOCTTY);
    if (own !== undefined) return nonBlockingEnd(own, 'terminal');
  }
  return fileEnd(reopen(fd, O_WRONLY | O_APPEND | O_NOCTTY) ?? fd, fd);
}

function fstatOf(fd: number): ReturnType<typeof fstatSync> | undefined {
  try {
    return fstatSync(fd);
  } catch {
    return undefined;
  }
}

function reopen(fd: number, flags: number): number | undefined {
  return open(`/proc/self/fd/${fd}`, flags);
}

function open(path: string, flags: number): number | undefined {
  try {
    return openSync(path, flags);
  } catch {
    return undefined;
  }
}

function nonBlockingEnd(fd: number, kind: 'pipe' | 'terminal'): End {
  const writeSome = (chunk: Buffer): Taken => {
    try {
      // Returns at once, because the description is non-blocking.
      return writeSync(fd, chunk);
    } catch (fault) {
      return (fault as NodeJS.ErrnoException).code === 'EAGAIN' ? 'full' : 'lost';
    }
  };
  return {
    kind,
    chunkBytes: PIPE_BUF,
    isAsync: false,
    offer: (chunk, answer) => answer(writeSome(chunk)),
    writeNow: (chunk) => {
      const taken = writeSome(chunk);
      return typeof taken === 'number' ? taken : 0;
    },
    close: () => close(fd),
  };
}

/** Opens a file, /dev/null or anything else: writes go through the thread pool, one at a time. */
function fileEnd(fd: number, given: number): End {
  let isWriting = false;
  let isClosed = false;
  const closeOwn = (): void => {
    if (fd !== given) close(fd);
  };
  return {
    kind: 'file',
    chunkBytes: CHUNK_BYTES,
    isAsync: true,
    offer: (chunk, answer) => {
      isWriting = true;
      write(fd, chunk, (fault, taken) => {
        isWriting = false;
        if (isClosed) closeOwn();
        answer(fault ? 'lost' : taken);
      });
    },
    writeNow: (chunk) => {
      try {
        return writeSync(fd, chunk);
      } catch {
        return 0;
      }
    },
    close: () => {
      isClosed = true;
      // A descriptor that is closed during a write may be reused for another file.
      if (!isWriting) closeOwn();
    },
  };
}

function socketEnd(fd: number, kind: 'socket' | 'pipe'): End {
  const socket = new Socket({ fd, readable: false, writable: true });
  socket.unref();
  // The callback of the write reports the error.
  socket.on('error', () => {});
  return {
    kind,
    chunkBytes: CHUNK_BYTES,
    isAsync: true,
    offer: (chunk, answer) => socket.write(chunk, (fault) => answer(fault ? 'lost' : chunk.length)),
    // Node tries to write in this turn; what the reader does not accept is lost with the process.
    writeNow: (chunk) => {
      if (socket.writableLength > 0 || socket.destroyed) return 0;
      socket.write(chunk);
      return chunk.length;
    },
    close: () => {},
  };
}

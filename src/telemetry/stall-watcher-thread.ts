/**
 * The thread of the stall watcher. When the main loop has had no heartbeat for a second, it gets the main thread's
 * stack through the inspector of the same process, writes it to a file, and lets the main thread continue. On a unix
 * socket it tells the supervisor how long ago the loop advanced (timers ran, or it answered a message).
 * Guarantees: the main thread is paused for some tens of milliseconds at most and always resumed; one file,
 * overwritten; synchronous disk access is safe in this thread.
 */
import { chmodSync, writeFileSync } from 'node:fs';
import { type Debugger, Session } from 'node:inspector';
import { createServer, type Server } from 'node:net';
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import {
  ADVANCE_CELL,
  ADVANCE_QUESTION,
  BEAT_CELL,
  STOP_CELL,
  type Stall,
  type StallWatcherOrders,
} from './stall-watcher.ts';

const MAX_FRAMES = 30;
/** Longest wait in ms for a stack: a main thread inside native code does not answer. */
const ANSWER_MS = 2000;
/** Checks without a heartbeat after which the thread asks whether the loop advances. */
const LATE_LOOKS = 3;
/** The supervisor asks one question at a time; a second connection is its retry. */
const CONNECTIONS = 4;
const CONNECTION_MS = 1000;

interface ConnectionWatch {
  beat: number;
  /** Time of the last heartbeat, monotonic ms. */
  sinceMs: number;
  /** Checks without a heartbeat: after a suspend of the machine this is one, not an hour's worth. */
  looks: number;
  /** Undefined until it was requested. */
  stack: string | undefined;
  /** Questions sent to the loop, and answered; at most one is open. */
  asked: number;
  answered: number;
}

function watchOver(main: MessagePort, orders: StallWatcherOrders): void {
  const cells = new Int32Array(orders.cells);
  const watch: ConnectionWatch = {
    beat: 0,
    sinceMs: performance.now(),
    looks: 0,
    stack: undefined,
    asked: 0,
    answered: 0,
  };
  const server = answerSupervisor(watch, orders.socketPath);
  const timer = setInterval(() => {
    if (Atomics.load(cells, STOP_CELL) === 0) return look(watch, cells, main, orders);
    clearInterval(timer);
    server.close();
  }, orders.beatMs);
}

/** Writes one line to each connection and closes it; reads nothing. */
function answerSupervisor(watch: ConnectionWatch, path: string): Server {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.setTimeout(CONNECTION_MS, () => socket.destroy());
    socket.resume();
    socket.end(`${Math.round(performance.now() - watch.sinceMs)}\n`);
  });
  server.maxConnections = CONNECTIONS;
  // Without this socket the supervisor judges a late process by its CPU time alone.
  server.on('error', () => {});
  server.listen(path, () => {
    try {
      chmodSync(path, 0o600);
    } catch {
      // The directory is already closed to others.
    }
  });
  return server;
}

function look(watch: ConnectionWatch, cells: Int32Array, main: MessagePort, orders: StallWatcherOrders): void {
  const nowMs = performance.now();
  const beat = Atomics.load(cells, BEAT_CELL);
  const answered = Atomics.load(cells, ADVANCE_CELL);
  if (beat !== watch.beat || answered !== watch.answered) {
    const { stack } = watch;
    if (stack !== undefined) main.postMessage({ ms: Math.round(nowMs - watch.sinceMs), stack } satisfies Stall);
    Object.assign(watch, {
      sinceMs: nowMs,
      looks: beat === watch.beat ? LATE_LOOKS - 1 : 0,
      stack: undefined,
      beat,
      answered,
    });
    return;
  }
  watch.looks += 1;
  if (beat !== 0 && watch.looks >= LATE_LOOKS && watch.asked === answered) {
    watch.asked += 1;
    main.postMessage(ADVANCE_QUESTION);
  }
  const silentMs = nowMs - watch.sinceMs;
  if (beat !== 0) endOrphan(silentMs, watch.looks, orders);
  if (watch.stack !== undefined || beat === 0 || silentMs < orders.stallMs) return;
  if (watch.looks < Math.floor(orders.stallMs / orders.beatMs) - 1) return;
  watch.stack = '';
  const { sinceMs } = watch;
  askWhere((stack) => {
    // The loop may be running again; the stack belongs to the stall for which it was requested.
    if (watch.sinceMs === sinceMs) watch.stack = stack;
    write(orders.file, Math.round(performance.now() - sinceMs), stack);
  });
}

/** Ends a process whose loop is blocked and whose supervisor is gone: nothing else could end it. */
function endOrphan(silentMs: number, looks: number, { supervisorPid, orphanMs, beatMs }: StallWatcherOrders): void {
  if (silentMs < orphanMs || looks < Math.floor(orphanMs / beatMs) - 1) return;
  if (process.ppid !== supervisorPid) process.kill(process.pid, 'SIGKILL');
}

function write(file: string, ms: number, stack: string): void {
  try {
    const head = `${new Date().toISOString()} pid ${process.pid} stalled for ${ms} ms`;
    writeFileSync(file, `${head}\n${stack || '(no stack: the main thread is in native code)'}\n`, { mode: 0o600 });
  } catch {
    // Without a run directory only the event at the end is left.
  }
}

/** Calls back once: with the stack, or with '' when the main thread does not answer. */
function askWhere(done: (stack: string) => void): void {
  const session = new Session();
  // Frames carry a script's number only. bounded by: the scripts of this process
  const urls = new Map<string, string>();
  let over = false;
  const end = (stack: string): void => {
    if (over) return;
    over = true;
    clearTimeout(patience);
    // Disconnecting also resumes the main thread.
    session.disconnect();
    done(stack);
  };
  const patience = setTimeout(() => end(''), ANSWER_MS);
  try {
    session.connectToMainThread();
    session.on('Debugger.scriptParsed', ({ params }) => urls.set(params.scriptId, params.url));
    session.on('Debugger.paused', ({ params }) => {
      session.post('Debugger.resume');
      end(stackOf(params.callFrames, urls));
    });
    session.post('Debugger.enable');
    session.post('Debugger.pause');
  } catch {
    end('');
  }
}

function stackOf(frames: readonly Debugger.CallFrame[], urls: ReadonlyMap<string, string>): string {
  return frames
    .slice(0, MAX_FRAMES)
    .map(({ functionName, location }) => {
      const place = `${urls.get(location.scriptId) ?? '?'}:${location.lineNumber + 1}:${(location.columnNumber ?? 0) + 1}`;
      return `    at ${functionName || '(anonymous)'} (${place})`;
    })
    .join('\n');
}

if (parentPort) watchOver(parentPort, workerData as StallWatcherOrders);

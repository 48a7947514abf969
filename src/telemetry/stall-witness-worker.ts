/**
 * The witness itself, in its own thread: looks at the main loop's beat, and when there was none for a second asks the debugger of the same
 * process where the main thread is, writes it down, and lets it go on.
 * Promises: the main thread is paused for some tens of milliseconds at most and always resumed; one file, overwritten; sync disk access hurts
 * nobody here.
 * Does not: talk while all is well.
 */
import { writeFileSync } from 'node:fs';
import { type Debugger, Session } from 'node:inspector';
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { BEAT_CELL, STOP_CELL, type Stall, type WitnessOrders } from './stall-witness.ts';

const MAX_FRAMES = 30;
/** A main thread inside native code cannot be asked; give up then. */
const ANSWER_MS = 2000;

interface Watch {
  beat: number;
  /** When the beat last changed, monotonic. */
  sinceMs: number;
  /** Looks without a change: a machine that slept counts one, not an hour. */
  looks: number;
  /** Undefined = not asked yet. */
  stack: string | undefined;
}

function watchOver(main: MessagePort, orders: WitnessOrders): void {
  const cells = new Int32Array(orders.cells);
  const watch: Watch = { beat: 0, sinceMs: performance.now(), looks: 0, stack: undefined };
  const timer = setInterval(() => {
    if (Atomics.load(cells, STOP_CELL) === 0) look(watch, Atomics.load(cells, BEAT_CELL), main, orders);
    else clearInterval(timer);
  }, orders.beatMs);
}

function look(watch: Watch, beat: number, main: MessagePort, orders: WitnessOrders): void {
  const nowMs = performance.now();
  if (beat !== watch.beat) {
    const { stack } = watch;
    if (stack !== undefined) main.postMessage({ ms: Math.round(nowMs - watch.sinceMs), stack } satisfies Stall);
    Object.assign(watch, { beat, sinceMs: nowMs, looks: 0, stack: undefined });
    return;
  }
  watch.looks += 1;
  const silentMs = nowMs - watch.sinceMs;
  if (beat !== 0) endOrphan(silentMs, watch.looks, orders);
  if (watch.stack !== undefined || beat === 0 || silentMs < orders.stallMs) return;
  if (watch.looks < Math.floor(orders.stallMs / orders.beatMs) - 1) return;
  watch.stack = '';
  const { sinceMs } = watch;
  askWhere((stack) => {
    // The loop may turn again by now; what was found belongs to the stall that was asked about.
    if (watch.beat === beat) watch.stack = stack;
    write(orders.file, Math.round(performance.now() - sinceMs), stack);
  });
}

/** A loop that does not turn cannot see that the guard is gone, and with the guard is gone whoever would have ended it. */
function endOrphan(silentMs: number, looks: number, { guardPid, orphanMs, beatMs }: WitnessOrders): void {
  if (silentMs < orphanMs || looks < Math.floor(orphanMs / beatMs) - 1) return;
  if (process.ppid !== guardPid) process.kill(process.pid, 'SIGKILL');
}

function write(file: string, ms: number, stack: string): void {
  try {
    const head = `${new Date().toISOString()} pid ${process.pid} stalled for ${ms} ms`;
    writeFileSync(file, `${head}\n${stack || '(no stack: the main thread is in native code)'}\n`, { mode: 0o600 });
  } catch {
    // Without a run directory the fact at the end is all there is.
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
    // Disconnecting also resumes.
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

if (parentPort) watchOver(parentPort, workerData as WitnessOrders);

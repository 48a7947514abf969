/**
 * Asks a hub for `/health` all the time, from a thread of its own, so that work of the test does not count as a wait
 * for the hub. A wait counts as a stall as far as a worker used the CPU meanwhile: time in which the machine let it
 * wait is not its fault.
 * As a module: `startStallWatch`; as a worker thread: the loop.
 */
import { readFileSync } from 'node:fs';
import { Agent, get } from 'node:http';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';

const PAUSE_MS = 10;

export interface Stalls {
  /** The longest stall, ms of CPU of one worker's loop between a request and its answer. */
  readonly stallMs: number;
  /** Longest and median wait, ms. */
  readonly maxMs: number;
  readonly medianMs: number;
  readonly failed: number;
  readonly looks: number;
}

export interface StallWatch {
  /** Ends the watch. */
  stop(): Promise<Stalls>;
}

interface Watched {
  readonly url: string;
  /** Of the workers. */
  readonly pids: readonly number[];
}

/** Starts the thread; it uses one kept connection to `url`/health. */
export function startStallWatch(watched: Watched): StallWatch {
  const worker = new Worker(new URL(import.meta.url), { workerData: watched });
  return {
    stop() {
      return new Promise((resolve, reject) => {
        worker.once('message', resolve);
        worker.once('error', reject);
        worker.postMessage('stop');
      });
    },
  };
}

/** CPU time of the main thread of a process, ms (https://docs.kernel.org/scheduler/sched-stats.html). */
function cpuMs(pid: number): number {
  try {
    return Number(readFileSync(`/proc/${pid}/task/${pid}/schedstat`, 'utf8').split(' ')[0]) / 1e6;
  } catch {
    return 0;
  }
}

function watch({ url, pids }: Watched): void {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const waits: number[] = [];
  let failed = 0;
  let stallMs = 0;
  let stopped = false;
  const next = (): void => {
    if (stopped) return;
    const startMs = performance.now();
    const before = pids.map(cpuMs);
    const done = (ok: boolean): void => {
      const waitMs = performance.now() - startMs;
      waits.push(waitMs);
      const used = pids.map((pid, at) => cpuMs(pid) - (before[at] ?? 0));
      stallMs = Math.max(stallMs, Math.min(waitMs, Math.max(...used)));
      if (!ok) failed += 1;
      setTimeout(next, PAUSE_MS);
    };
    const request = get(`${url}/health`, { agent }, (answer) => {
      answer.resume();
      answer.on('end', () => done(answer.statusCode === 200));
    });
    request.on('error', () => done(false));
  };
  parentPort?.once('message', () => {
    stopped = true;
    agent.destroy();
    const sorted = waits.toSorted((a, b) => a - b);
    const [maxMs = 0, medianMs = 0] = [sorted.at(-1), sorted[sorted.length >> 1]];
    parentPort?.postMessage({ stallMs, maxMs, medianMs, failed, looks: waits.length } satisfies Stalls);
    parentPort?.close();
  });
  next();
}

if (!isMainThread) watch(workerData as Watched);

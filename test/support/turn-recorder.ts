/**
 * Records the long turns of the event loops of a hub's workers and control, as CPU time of their main thread, so that a
 * machine that lets them wait does not count, and how long the engine collected garbage in each. As a module of a test:
 * `TurnRecorder`; preloaded into the processes of a hub (NODE_OPTIONS): the recording.
 */
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PerformanceObserver } from 'node:perf_hooks';
import { isMainThread } from 'node:worker_threads';

const FILE_VARIABLE = 'MCPHUB_TEST_TURNS';
/** Shorter ones are not recorded, ms. */
const LONG_MS = 10;

/**
 * CPU time of this thread, ms. The system counts it by ticks of 4 ms unless that of the process is asked first
 * (measured: 1 ms reads as 0 to 2.5).
 */
export function threadCpuMs(): number {
  process.cpuUsage();
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

export class TurnRecorder implements Disposable {
  readonly #dir = mkdtempSync(join(tmpdir(), 'mcphub-turns-'));
  readonly #file = join(this.#dir, 'turns');
  #fromMs = 0;

  /** For the environment of the hub. */
  get env(): Record<string, string> {
    return { NODE_OPTIONS: `--import=${import.meta.url}`, [FILE_VARIABLE]: this.#file };
  }

  /** Forgets what was before; a start has long turns. */
  begin(): void {
    this.#fromMs = Date.now();
  }

  /** The longest turn since `begin`, ms of CPU; 0 = none of `LONG_MS` or more. */
  longestMs(role: 'hub' | 'control' = 'hub'): number {
    return Math.max(0, ...this.#turns(role).map(({ ms }) => ms));
  }

  /** The longest turn since `begin` without its garbage collections, ms of CPU. Wait 100 ms after the last one. */
  longestOwnMs(role: 'hub' | 'control'): number {
    return Math.max(0, ...this.#turns(role).map(({ ms, gcMs }) => ms - gcMs));
  }

  #turns(role: string): { ms: number; gcMs: number }[] {
    const lines = existsSync(this.#file) ? readFileSync(this.#file, 'utf8').trim().split('\n') : [];
    return lines
      .map((line) => line.split(' '))
      .filter(([of, atMs]) => of === role && Number(atMs) >= this.#fromMs)
      .map(([, , ms, gcMs]) => ({ ms: Number(ms), gcMs: Number(gcMs) }));
  }

  [Symbol.dispose](): void {
    rmSync(this.#dir, { recursive: true, force: true });
  }
}

/** The engine reports its collections this much later at most, ms. */
const GC_REPORT_MS = 50;

interface Span {
  readonly startMs: number;
  readonly endMs: number;
}

function record(file: string, role: string): void {
  let collections: Span[] = []; // bounded by: those of the last second
  new PerformanceObserver((list) => {
    const seen = list
      .getEntries()
      .map(({ startTime, duration }) => ({ startMs: startTime, endMs: startTime + duration }));
    const nowMs = performance.now();
    collections = [...collections, ...seen].filter(({ endMs }) => nowMs - endMs < 1000);
  }).observe({ entryTypes: ['gc'] });
  const write = (turn: Span, ms: number): void => {
    const overlaps = collections.map(
      ({ startMs, endMs }) => Math.min(endMs, turn.endMs) - Math.max(startMs, turn.startMs),
    );
    const gcMs = overlaps.reduce((sum, ms) => sum + Math.max(0, ms), 0);
    const line = [role, Math.round(performance.timeOrigin + turn.endMs), ms.toFixed(1), gcMs.toFixed(1)];
    appendFileSync(file, `${line.join(' ')}\n`);
  };
  let before = { cpuMs: threadCpuMs(), atMs: performance.now() };
  const turn = (): void => {
    const now = { cpuMs: threadCpuMs(), atMs: performance.now() };
    const ms = now.cpuMs - before.cpuMs;
    const span = { startMs: before.atMs, endMs: now.atMs };
    if (ms >= LONG_MS) setTimeout(() => write(span, ms), GC_REPORT_MS).unref();
    before = now;
    look();
  };
  // Runs once in each turn and, not referenced, lets an idle loop sleep.
  const look = (): void => void setImmediate(turn).unref();
  look();
}

const file = process.env[FILE_VARIABLE];
const role = process.env.MCPHUB_PROCESS;
if (file !== undefined && isMainThread && (role === 'hub' || role === 'control')) record(file, role);

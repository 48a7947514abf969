/**
 * Records the long turns of the event loops of a hub's workers and control, as CPU time of their main thread, so that a
 * machine that lets them wait does not count. As a module of a test: `TurnRecorder`; preloaded into the processes of a
 * hub (NODE_OPTIONS): the recording.
 */
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
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
    const lines = existsSync(this.#file) ? readFileSync(this.#file, 'utf8').trim().split('\n') : [];
    const turns = lines
      .filter((line) => line.startsWith(`${role} `))
      .map((line) => line.split(' ').slice(1).map(Number) as [atMs: number, ms: number]);
    return Math.max(0, ...turns.filter(([atMs]) => atMs >= this.#fromMs).map(([, ms]) => ms));
  }

  [Symbol.dispose](): void {
    rmSync(this.#dir, { recursive: true, force: true });
  }
}

function record(file: string, role: string): void {
  let before = threadCpuMs();
  const turn = (): void => {
    const now = threadCpuMs();
    if (now - before >= LONG_MS) appendFileSync(file, `${role} ${Date.now()} ${(now - before).toFixed(1)}\n`);
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

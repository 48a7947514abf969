/**
 * Records the long turns of the event loops of a hub's workers, as CPU time of their main thread, so that a machine that lets them wait does not count.
 * As a module of a test: `TurnRecorder`; preloaded into the processes of a hub (NODE_OPTIONS): the recording, in workers only.
 */
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isMainThread } from 'node:worker_threads';

const FILE_VARIABLE = 'MCPHUB_TEST_TURNS';
/** Shorter ones are not recorded, ms. */
const LONG_MS = 10;

/** CPU time of this thread, ms. The system counts it by ticks of 4 ms unless that of the process is asked first (measured: 1 ms reads as 0 to 2.5). */
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
  longestMs(): number {
    const lines = existsSync(this.#file) ? readFileSync(this.#file, 'utf8').trim().split('\n') : [];
    const turns = lines.map((line) => line.split(' ').map(Number) as [atMs: number, ms: number]);
    return Math.max(0, ...turns.filter(([atMs]) => atMs >= this.#fromMs).map(([, ms]) => ms));
  }

  [Symbol.dispose](): void {
    rmSync(this.#dir, { recursive: true, force: true });
  }
}

function record(file: string): void {
  let before = threadCpuMs();
  const turn = (): void => {
    const now = threadCpuMs();
    if (now - before >= LONG_MS) appendFileSync(file, `${Date.now()} ${(now - before).toFixed(1)}\n`);
    before = now;
    look();
  };
  // Runs once in each turn and, not referenced, lets an idle loop sleep.
  const look = (): void => void setImmediate(turn).unref();
  look();
}

const file = process.env[FILE_VARIABLE];
if (file !== undefined && isMainThread && process.env.MCPHUB_PROCESS === 'hub') record(file);

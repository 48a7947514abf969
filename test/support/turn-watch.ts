/**
 * Loaded into a hub's processes (`--import`): a worker appends `<ms since 1970> <CPU ms>` for each long turn of its event loop to the file that
 * `MCPHUB_TEST_TURNS` names. The CPU time is that of the thread, so that other processes on the machine do not count.
 */
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { isMainThread } from 'node:worker_threads';

/** Shorter turns are not written down. */
const LONG_MS = 10;
const file = process.env.MCPHUB_TEST_TURNS;

if (isMainThread && file !== undefined && process.env.MCPHUB_PROCESS === 'hub') {
  let before = process.threadCpuUsage();
  // Fires in each turn, or after 1 ms of shorter ones.
  const turn = (): void => {
    const now = process.threadCpuUsage();
    const ms = (now.user + now.system - before.user - before.system) / 1000;
    before = now;
    if (ms >= LONG_MS) appendFileSync(file, `${Date.now()} ${ms}\n`);
    setTimeout(turn, 1).unref();
  };
  turn();
}

/** The longest turn since `sinceMs` (ms since 1970), in ms of CPU; 0 = none was long. */
export function longestTurnSince(path: string, sinceMs: number): number {
  if (!existsSync(path)) return 0;
  const turns = readFileSync(path, 'utf8')
    .split('\n')
    .map((line) => line.split(' ').map(Number));
  return Math.max(0, ...turns.filter(([at = 0]) => at >= sinceMs).map(([, ms = 0]) => ms));
}

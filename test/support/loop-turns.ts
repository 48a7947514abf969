/**
 * The longest turn of the event loop while some work goes on, by the CPU time of this thread: another process that
 * takes the CPU does not count.
 */
import { threadCpuMs } from './turn-recorder.ts';

export async function longestTurnMs(work: () => Promise<unknown>): Promise<number> {
  let longestMs = 0;
  let isOver = false;
  let before = threadCpuMs();
  const turn = (): void => {
    const now = threadCpuMs();
    longestMs = Math.max(longestMs, now - before);
    before = now;
    if (!isOver) setImmediate(turn);
  };
  setImmediate(turn);
  try {
    await work();
  } finally {
    isOver = true;
  }
  turn(); // the one that is just over
  return longestMs;
}

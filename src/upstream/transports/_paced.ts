/**
 * Lets the loop turn between two pieces of an event stream that take long to read: a socket may hand over 32 pieces of 64 KiB in one turn,
 * each with hundreds of messages.
 */
import type { Kernel } from '../../kernel/kernel.ts';
import type { ResponseController } from '../../net/egress.ts';

const LONG_MS = 1;

/** Runs `read`; when that took a millisecond or more, the stream is paused until the next turn of the loop. */
export function paced(
  { clock, timers }: Pick<Kernel, 'clock' | 'timers'>,
  controller: ResponseController,
  read: () => void,
): void {
  const startMs = clock.nowMs();
  read();
  if (clock.nowMs() - startMs < LONG_MS) return;
  controller.pause();
  timers.after(0, () => controller.resume());
}

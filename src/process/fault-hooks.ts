/**
 * Switches for tests that no one can reach otherwise: only with MCPHUB_FAULT_HOOKS=1 and NODE_ENV=test, by a signal to this process.
 * Promises: without both variables nothing is installed.
 */
import type { Kernel } from '../kernel/kernel.ts';

const STALL_MS = 60_000;

export function faultHooks(env: NodeJS.ProcessEnv, kernel: Kernel): void {
  if (env.MCPHUB_FAULT_HOOKS !== '1' || env.NODE_ENV !== 'test') return;
  process.on('SIGUSR2', () => blockTheLoop(kernel));
}

/** A turn of the loop that does not end: what the guard must notice. */
function blockTheLoop(kernel: Kernel): void {
  const untilMs = kernel.clock.nowMs() + STALL_MS;
  while (kernel.clock.nowMs() < untilMs) Math.sqrt(untilMs);
}

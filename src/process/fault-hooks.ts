/**
 * Switches for tests that no one can reach otherwise: only with MCPHUB_FAULT_HOOKS=1 and NODE_ENV=test, by a signal to this process.
 * SIGUSR2 = the loop stands still for a minute; SIGURG = the heap is collected, so that the figures of /api/health on the private socket mean something.
 * Promises: without both variables nothing is installed.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Kernel } from '../kernel/kernel.ts';

const STALL_MS = 60_000;

export function faultHooks(env: NodeJS.ProcessEnv, kernel: Kernel): void {
  if (env.MCPHUB_FAULT_HOOKS !== '1' || env.NODE_ENV !== 'test') return;
  process.on('SIGUSR2', () => blockTheLoop(kernel));
  process.on('SIGURG', () => collectGarbage());
}

/** A turn of the loop that does not end: what the guard must notice. */
function blockTheLoop(kernel: Kernel): void {
  const untilMs = kernel.clock.nowMs() + STALL_MS;
  while (kernel.clock.nowMs() < untilMs) Math.sqrt(untilMs);
}

/** Twice: what finalizers let go of in the first round is collected in the second. */
function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  collect();
  collect();
}

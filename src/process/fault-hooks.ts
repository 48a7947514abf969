/**
 * Switches for tests that no one can reach otherwise: only with MCPHUB_FAULT_HOOKS=1 and NODE_ENV=test, by a signal to this process.
 * SIGUSR2 = the loop stands still for a minute; SIGURG = the heap is collected, so that the figures of /api/health on the private socket mean something;
 * SIGXCPU = the heap leaks, LEAK_MB_A_SECOND; SIGXFSZ = a promise is rejected and nobody looks; SIGPROF = an exception that nobody catches.
 * Promises: without both variables nothing is installed.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { HubError } from '../kernel/errors.ts';
import type { Kernel } from '../kernel/kernel.ts';

const STALL_MS = 60_000;
const LEAK_MB_A_SECOND = 20;
const LEAKS_A_SECOND = 10;

export function faultHooks(env: NodeJS.ProcessEnv, kernel: Kernel): void {
  if (env.MCPHUB_FAULT_HOOKS !== '1' || env.NODE_ENV !== 'test') return;
  process.on('SIGUSR2', () => blockTheLoop(kernel));
  process.on('SIGURG', () => collectGarbage());
  process.once('SIGXCPU', () => leak(kernel));
  process.on('SIGXFSZ', () => void Promise.reject(new HubError('internal', { message: 'a rejection for a test' })));
  process.on('SIGPROF', () => {
    throw new HubError('internal', { message: 'an exception for a test' });
  });
}

/** On the heap, in pieces as small as those of a real leak. */
function leak(kernel: Kernel): void {
  const kept: string[][] = []; // bounded by: the memory ceiling, which is what is tested
  kernel.timers.every(1000 / LEAKS_A_SECOND, () => {
    const pieces = (LEAK_MB_A_SECOND * 1024) / LEAKS_A_SECOND;
    kept.push(
      Array.from({ length: pieces }, (_, at) => `${at}`.padEnd(1000, String.fromCharCode(97 + (kept.length % 26)))),
    );
  });
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

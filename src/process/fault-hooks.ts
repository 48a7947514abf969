/**
 * Switches for tests that no one can reach otherwise: only with MCPHUB_FAULT_HOOKS=1 and NODE_ENV=test, by a signal to this process.
 * SIGUSR2 = the loop stands still for a minute; SIGURG = the heap is collected, so that the figures of /api/health on the private socket mean something;
 * SIGXCPU = the heap leaks, LEAK_MB_A_SECOND; SIGXFSZ = a promise is rejected and nobody looks; SIGPROF = an exception that nobody catches.
 * Promises: without both variables nothing is installed.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { HubError } from '../model/errors.ts';
import type { Runtime } from '../runtime/runtime.ts';

const STALL_MS = 60_000;
const LEAK_MB_A_SECOND = 20;
const LEAKS_A_SECOND = 10;

export function faultHooks(env: NodeJS.ProcessEnv, runtime: Runtime): void {
  if (env.MCPHUB_FAULT_HOOKS !== '1' || env.NODE_ENV !== 'test') return;
  process.on('SIGUSR2', () => blockTheLoop(runtime));
  process.on('SIGURG', () => collectGarbage());
  process.once('SIGXCPU', () => leak(runtime));
  process.on('SIGXFSZ', () => void Promise.reject(new HubError('internal', { message: 'a rejection for a test' })));
  process.on('SIGPROF', () => {
    throw new HubError('internal', { message: 'an exception for a test' });
  });
}

/** On the heap, in pieces as small as those of a real leak, and as fast as is said on a busy machine too. */
function leak(runtime: Runtime): void {
  const kept: string[][] = []; // bounded by: the memory ceiling, which is what is tested
  let beforeMs = runtime.clock.nowMs();
  runtime.timers.every(1000 / LEAKS_A_SECOND, () => {
    const nowMs = runtime.clock.nowMs();
    const pieces = Math.round((LEAK_MB_A_SECOND * 1024 * (nowMs - beforeMs)) / 1000);
    beforeMs = nowMs;
    // Flat strings of their own: what the runtime pads or repeats shares half of its bytes.
    const piece = Buffer.alloc(1000, 97 + (kept.length % 26));
    kept.push(Array.from({ length: pieces }, () => piece.toString('latin1')));
  });
}

/** A turn of the loop that does not end: what the supervisor must notice. */
function blockTheLoop(runtime: Runtime): void {
  const untilMs = runtime.clock.nowMs() + STALL_MS;
  while (runtime.clock.nowMs() < untilMs) Math.sqrt(untilMs);
}

/** Twice: what finalizers let go of in the first round is collected in the second. */
function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  collect();
  collect();
}

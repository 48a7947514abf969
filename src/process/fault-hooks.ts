/**
 * Fault injection for tests, by signals; only with MCPHUB_FAULT_HOOKS=1 and NODE_ENV=test, otherwise nothing is
 * installed.
 * SIGUSR2 blocks the event loop for a minute. SIGURG collects garbage, so that the memory figures of /api/health on the
 * private socket are meaningful. SIGXCPU leaks LEAK_MB_A_SECOND on the heap. SIGXFSZ causes an unhandled rejection,
 * SIGPROF an uncaught exception.
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

/** Leaks on the heap, in pieces as small as those of a real leak, at the given rate also on a loaded machine. */
function leak(runtime: Runtime): void {
  const kept: string[][] = []; // bounded by: the memory ceiling, which is what is tested
  let beforeMs = runtime.clock.nowMs();
  runtime.timers.every(1000 / LEAKS_A_SECOND, () => {
    const nowMs = runtime.clock.nowMs();
    const pieces = Math.round((LEAK_MB_A_SECOND * 1024 * (nowMs - beforeMs)) / 1000);
    beforeMs = nowMs;
    // Separate flat strings: padded or repeated strings share half of their bytes.
    const piece = Buffer.alloc(1000, 97 + (kept.length % 26));
    kept.push(Array.from({ length: pieces }, () => piece.toString('latin1')));
  });
}

/** Blocks the event loop, which the supervisor must detect. */
function blockTheLoop(runtime: Runtime): void {
  const untilMs = runtime.clock.nowMs() + STALL_MS;
  while (runtime.clock.nowMs() < untilMs) Math.sqrt(untilMs);
}

/** Collects twice: what finalizers release in the first pass is collected in the second. */
function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  collect();
  collect();
}

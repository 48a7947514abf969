/**
 * Writes compiled code to the compile cache for the next start. Node writes it only at an orderly exit, so a process
 * that is killed would start slowly again.
 * Guarantees: runs after the start; does nothing when the cache was complete, as after `npm ci`; otherwise takes one
 * turn of 0.1 s, once per version.
 */
import { flushCompileCache } from 'node:module';
import type { Runtime } from '../runtime/runtime.ts';

const AFTER_MS = 3000;

export function enableCompileCache(runtime: Runtime): void {
  runtime.timers.after(AFTER_MS, () => flushCompileCache());
}

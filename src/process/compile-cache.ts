/**
 * Code that this process had to compile is kept for the next life: the runtime itself writes it at an orderly end only, and one that is killed
 * would be as slow the next time.
 * Promises: not while the process starts; nothing is done when all was there, as after `npm ci`; otherwise one turn of 0.1 s, once a version.
 */
import { flushCompileCache } from 'node:module';
import type { Runtime } from '../runtime/runtime.ts';

const AFTER_MS = 3000;

export function enableCompileCache(runtime: Runtime): void {
  runtime.timers.after(AFTER_MS, () => flushCompileCache());
}

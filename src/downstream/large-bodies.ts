/**
 * Large bodies take milliseconds for each megabyte. They are looked at one by one, with a turn of the loop between two, so that a hundred of them at once keep
 * nobody waiting longer than one.
 * Promises: small ones never wait; large ones keep their order; what waits is dropped when its client has gone.
 */
import type { ServerResponse } from 'node:http';
import type { Runtime } from '../runtime/runtime.ts';
import { guardCallback } from './guarded-http.ts';

/** About a millisecond of work at most. */
const LARGE_BYTES = 128 * 1024;

export interface LargeBodies {
  /** Runs `look` now, or in its turn. */
  take(bytes: number, response: ServerResponse, look: () => void): void;
}

export function createLargeBodies(runtime: Pick<Runtime, 'timers' | 'bus'>): LargeBodies {
  const waiting: { readonly response: ServerResponse; readonly look: () => void }[] = []; // bounded by: connections
  let isAsked = false;

  function later(): void {
    if (isAsked || waiting.length === 0) return;
    isAsked = true;
    runtime.timers.after(0, () => {
      isAsked = false;
      const next = waiting.shift();
      // The next turn is asked for first: a fault of this one must not keep the others.
      later();
      if (next && !next.response.destroyed) guardCallback(runtime, next.response, next.look)();
    });
  }

  return {
    take(bytes, response, look) {
      if (bytes < LARGE_BYTES) return look();
      waiting.push({ response, look });
      later();
    },
  };
}

/**
 * Handles large bodies, which take milliseconds for each megabyte, one by one with a turn of the event loop between
 * two, so that many delay other work no longer than one does.
 * Guarantees: small ones never wait; large ones keep their order; a waiting one is dropped when its client has
 * disconnected.
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
      // The next turn is scheduled first: a fault of this body must not block the others.
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

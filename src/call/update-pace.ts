/**
 * Paces `notifications/resources/updated` of one server by the messages that they cause: one for each subscriber.
 * Guarantees: no server causes more than `updatesPerSecond` messages a second; further updates are delayed, and of
 * several for one resource only the newest is sent, so that the last one always arrives unless more than `PENDING`
 * resources wait.
 */
import type { Limits } from '../config/limits.ts';
import { TokenBucket } from '../resilience/token-bucket.ts';
import { CappedMap } from '../runtime/capped.ts';
import type { Runtime } from '../runtime/runtime.ts';

/** Maximum number of resources of one server whose update waits. */
const PENDING = 1000;
const AGAIN_MS = 100;

export interface UpdatePace {
  /** Runs `send` now or later; it returns how many messages it caused. `messages`: how many it would cause now. */
  offer(uri: string, messages: number, send: () => number): void;
}

export function createUpdatePace({ runtime, limits }: { runtime: Runtime; limits: Limits }): UpdatePace {
  const bucket = new TokenBucket({
    perSecond: limits.updatesPerSecond,
    burst: limits.updatesPerSecond,
    nowMs: runtime.clock.nowMs(),
  });
  const pending = new CappedMap<string, () => number>('call.pending-updates', PENDING, 'drop-oldest', runtime.ceilings);
  let isWaiting = false;

  function sendPending(): void {
    for (const [uri, send] of pending.entries()) {
      if (!bucket.take(runtime.clock.nowMs())) return later();
      pending.delete(uri);
      // One permit has been taken; the rest is owed, and delays later updates.
      bucket.owe(Math.max(0, send() - 1));
    }
  }

  function later(): void {
    if (isWaiting) return;
    isWaiting = true;
    runtime.timers.after(AGAIN_MS, () => {
      isWaiting = false;
      sendPending();
    });
  }

  return {
    offer(uri, messages, send) {
      if (messages === 0) return;
      bucket.setRate(limits.updatesPerSecond, limits.updatesPerSecond);
      if (pending.size === 0 && bucket.take(runtime.clock.nowMs())) {
        bucket.owe(Math.max(0, send() - 1));
        return;
      }
      pending.set(uri, send);
      later();
    },
  };
}

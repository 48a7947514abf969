/**
 * Stops a worker in order: not ready any more, no new work, running calls finish, streams close, servers stop, the
 * process exits.
 * Guarantees: ends by `stopMs` in any case; an idle worker ends at once; a second `begin` has no effect, `abandon`
 * skips the waiting.
 */
import type { Limits } from '../config/limits.ts';
import type { Egress } from '../net/egress.ts';
import type { Deadline } from '../runtime/deadline.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { WorkerParts } from './worker-parts.ts';

export interface DrainParts {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly parts: WorkerParts;
  /** True when the hub was started at a terminal. */
  readonly isTerminal: boolean;
  /** Ended after the servers. */
  readonly closers: readonly (() => Promise<void>)[];
  readonly egress: Egress;
  readonly end: (code: number) => Promise<never>;
}

export interface Drain {
  /** True from the first `begin`, `leave` or `abandon` on. */
  readonly hasBegun: boolean;
  begin(reason: string): void;
  /**
   * A replacement worker has taken over: connections move to it as their responses are sent, before the drain begins.
   */
  leave(): void;
  /** Nobody needs an answer any more: ends the servers' processes and this one. */
  abandon(reason: string): void;
}

const LOOK_MS = 50;
const ABANDON_MS = 3000;
/** Time in ms for which new calls on existing connections are accepted while others run. */
const LAST_CALLS_MS = 1000;
/**
 * Time in ms for which clients of this worker may still consider their connection usable. Closing an idle connection at
 * the moment when its client sends costs a call; most clients close idle ones after 4 or 5 s themselves.
 */
const MOVE_MS = 6000;

export function createDrain({ runtime, limits, parts, isTerminal, closers, egress, end }: DrainParts): Drain {
  let began = false;

  /** Returns true when no call runs here, of a client or forwarded by another worker. */
  function isIdle(): boolean {
    return parts.admission.inFlight === 0 && parts.registry.statuses().every((server) => server.inFlight === 0);
  }

  /** Returns true when the replacement worker runs every server whose process ran here. */
  function isHandedOver(): boolean {
    return Object.keys(parts.registry.runningHere()).length === 0;
  }

  async function run(reason: string, isReplaced: boolean): Promise<void> {
    const startMs = runtime.clock.nowMs();
    const stop = runtime.deadline(limits.stopMs);
    const calls = stop.sooner(limits.drainMs);
    if (isReplaced) {
      parts.front.retire();
      // Calls that other workers forward to servers of this worker move as well.
      parts.privateFront.retire();
      await until(() => parts.front.connections === 0, calls.sooner(MOVE_MS));
      await until(isHandedOver, calls);
    }
    parts.health.draining();
    runtime.bus.publish({ type: 'drain-started', calls: parts.admission.inFlight, streams: parts.streams.size });
    // At a terminal a stop does not wait for load balancers.
    if (!isReplaced && !isTerminal && parts.balancers.areWatching)
      await until(() => false, stop.sooner(limits.balancerMs));
    // A kept-alive connection may bring one more call before it is closed; that call is answered, not refused.
    parts.front.close();
    await until(isIdle, calls.sooner(LAST_CALLS_MS));
    parts.admission.close();
    await until(isIdle, calls);
    parts.streams.closeAll('draining');
    await Promise.all([parts.registry.stop(stop.sooner(limits.childTermMs * 4)), parts.front.stop(stop.sooner(1000))]);
    await settled([
      ...closers.map((close) => close()),
      egress.close(stop.sooner(1000)),
      parts.privateFront.stop(stop.sooner(300)),
    ]);
    const stuck = await runtime.scope.close(stop.sooner(500));
    parts.sessions.stop();
    parts.streams.stop();
    runtime.bus.publish({
      type: 'process-stopped',
      role: 'hub',
      reason,
      ms: Math.round(runtime.clock.nowMs() - startMs),
      stuck,
    });
    await end(0);
  }

  function until(done: () => boolean, deadline: Deadline): Promise<void> {
    return new Promise((resolve) => {
      if (done()) return resolve();
      const look = runtime.timers.every(LOOK_MS, () => {
        if (done()) over();
      });
      const forget = deadline.onEnd(() => over());
      function over(): void {
        look[Symbol.dispose]();
        forget?.();
        resolve();
      }
    });
  }

  function begin(reason: string, isReplaced: boolean): void {
    if (began) return;
    began = true;
    // Not in the scope of the process, because closing that scope is one of the steps.
    void run(reason, isReplaced).catch((fault: unknown) => {
      runtime.bus.publish({ type: 'task-faulted', task: 'drain', fault });
      return end(1);
    });
  }

  return {
    get hasBegun() {
      return began;
    },
    begin: (reason) => begin(reason, false),
    leave: () => begin('another worker has taken over', true),
    abandon(reason) {
      if (began) return;
      began = true;
      runtime.bus.publish({ type: 'process-stopped', role: 'hub', reason, ms: 0, stuck: [] });
      void parts.registry
        .stop(runtime.deadline(ABANDON_MS))
        .catch(() => {})
        .then(() => end(1));
    },
  };
}

async function settled(work: readonly Promise<unknown>[]): Promise<void> {
  await Promise.allSettled(work);
}

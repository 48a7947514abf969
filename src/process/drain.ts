/**
 * How a hub ends, in order: readiness off, no new work, calls in progress finish, streams are closed, servers are stopped, the process ends.
 * Promises: over by `stopMs` whatever does not cooperate; an idle hub ends at once; a second `begin` changes nothing, `abandon` skips the waiting.
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
  /** The hub was started at a terminal. */
  readonly isTerminal: boolean;
  /** Ended after the servers. */
  readonly closers: readonly (() => Promise<void>)[];
  readonly egress: Egress;
  readonly end: (code: number) => Promise<never>;
}

export interface Drain {
  begin(reason: string): void;
  /** Another hub has taken over: connections move there as their answers go out, before the drain begins. */
  leave(): void;
  /** Nobody is left to answer to: servers' processes are ended, and so is this. */
  abandon(reason: string): void;
}

const LOOK_MS = 50;
const ABANDON_MS = 3000;
/** New calls on connections that are there are still taken for this long while others run. */
const LAST_CALLS_MS = 1000;
/**
 * So long a client that has left this hub may still think that its connection is good. An idle connection that is closed in the moment in which
 * its client sends costs a call; most clients close an idle one after 4 or 5 s by themselves.
 */
const MOVE_MS = 6000;

export function createDrain({ runtime, limits, parts, isTerminal, closers, egress, end }: DrainParts): Drain {
  let began = false;

  /** No call of a client here, and none that a sibling hub forwarded to a server that lives here. */
  function isIdle(): boolean {
    return parts.admission.inFlight === 0 && parts.registry.statuses().every((server) => server.inFlight === 0);
  }

  /** The worker that replaces this one has taken every server whose process ran here. */
  function isHandedOver(): boolean {
    return Object.keys(parts.registry.runningHere()).length === 0;
  }

  async function run(reason: string, isReplaced: boolean): Promise<void> {
    const startMs = runtime.clock.nowMs();
    const stop = runtime.deadline(limits.stopMs);
    const calls = stop.sooner(limits.drainMs);
    if (isReplaced) {
      parts.front.retire();
      // Siblings' calls to servers of this hub move too.
      parts.privateFront.retire();
      await until(() => parts.front.connections === 0, calls.sooner(MOVE_MS));
      await until(isHandedOver, calls);
    }
    parts.health.draining();
    runtime.bus.publish({ type: 'drain-started', calls: parts.admission.inFlight, streams: parts.streams.size });
    // Who stops it at a terminal does not want to wait for a balancer.
    if (!isReplaced && !isTerminal && parts.balancers.areWatching)
      await until(() => false, stop.sooner(limits.balancerMs));
    // A kept-alive connection may bring one more call before it is closed: that one is answered too, not refused.
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
    // Not in the process's scope: closing that one is a step of this.
    void run(reason, isReplaced).catch((fault: unknown) => {
      runtime.bus.publish({ type: 'task-faulted', task: 'drain', fault });
      return end(1);
    });
  }

  return {
    begin: (reason) => begin(reason, false),
    leave: () => begin('another hub serves in its place', true),
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

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

const LOOK_MS = 50;
const ABANDON_MS = 3000;
/** Time in ms for which new calls on existing connections are accepted while others run. */
const LAST_CALLS_MS = 1000;
/**
 * Time in ms for which clients of this worker may still consider their connection usable. Closing an idle connection at
 * the moment when its client sends costs a call; most clients close idle ones after 4 or 5 s themselves.
 */
const MOVE_MS = 6000;

export class Drain {
  readonly #parts: DrainParts;
  #hasBegun = false;

  constructor(parts: DrainParts) {
    this.#parts = parts;
  }

  /** True from the first `begin`, `leave` or `abandon` on. */
  get hasBegun(): boolean {
    return this.#hasBegun;
  }

  begin(reason: string): void {
    this.#begin(reason, false);
  }

  /**
   * A replacement worker has taken over: connections move to it as their responses are sent, before the drain begins.
   */
  leave(): void {
    this.#begin('another worker has taken over', true);
  }

  /** Nobody needs an answer any more: ends the servers' processes and this one. */
  abandon(reason: string): void {
    const { runtime, parts, end } = this.#parts;
    if (this.#hasBegun) return;
    this.#hasBegun = true;
    runtime.bus.publish({ type: 'process-stopped', role: 'hub', reason, ms: 0, stuck: [] });
    void parts.registry
      .stop(runtime.deadline(ABANDON_MS))
      .catch(() => {})
      .then(() => end(1));
  }

  /** Returns true when no call runs here, of a client or forwarded by another worker. */
  #isIdle(): boolean {
    const { parts } = this.#parts;
    return parts.admission.inFlight === 0 && parts.registry.statuses().every((server) => server.inFlight === 0);
  }

  /** Returns true when the replacement worker runs every server whose process ran here. */
  #isHandedOver(): boolean {
    const { parts } = this.#parts;
    return Object.keys(parts.registry.runningHere()).length === 0;
  }

  async #run(reason: string, isReplaced: boolean): Promise<void> {
    const { runtime, limits, parts, isTerminal, closers, egress, end } = this.#parts;
    const startMs = runtime.clock.nowMs();
    const stop = runtime.deadline(limits.stopMs);
    const calls = stop.sooner(limits.drainMs);
    if (isReplaced) {
      parts.front.retire();
      // Calls that other workers forward to servers of this worker move as well.
      parts.privateFront.retire();
      await this.#until(() => parts.front.connections === 0, calls.sooner(MOVE_MS));
      await this.#until(() => this.#isHandedOver(), calls);
    }
    parts.health.draining();
    runtime.bus.publish({ type: 'drain-started', calls: parts.admission.inFlight, streams: parts.streams.size });
    // At a terminal a stop does not wait for load balancers.
    if (!isReplaced && !isTerminal && parts.balancers.areWatching)
      await this.#until(() => false, stop.sooner(limits.balancerMs));
    // A kept-alive connection may bring one more call before it is closed; that call is answered, not refused.
    parts.front.close();
    await this.#until(() => this.#isIdle(), calls.sooner(LAST_CALLS_MS));
    parts.admission.close();
    await this.#until(() => this.#isIdle(), calls);
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

  #until(done: () => boolean, deadline: Deadline): Promise<void> {
    const { runtime } = this.#parts;
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

  #begin(reason: string, isReplaced: boolean): void {
    const { runtime, end } = this.#parts;
    if (this.#hasBegun) return;
    this.#hasBegun = true;
    // Not in the scope of the process, because closing that scope is one of the steps.
    void this.#run(reason, isReplaced).catch((fault: unknown) => {
      runtime.bus.publish({ type: 'task-faulted', task: 'drain', fault });
      return end(1);
    });
  }
}

async function settled(work: readonly Promise<unknown>[]): Promise<void> {
  await Promise.allSettled(work);
}

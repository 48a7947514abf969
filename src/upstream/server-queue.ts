/**
 * The places for calls inside one server, and the queue for them.
 * Guarantees: a full queue refuses at once; keys take turns; a call waits at most `serverQueueMs`, and no longer than
 * its caller does.
 */
import type { Limits } from '../config/limits.ts';
import { type Outcome, Refusal } from '../model/outcome.ts';
import type { ServerSpec } from '../model/snapshot.ts';
import { Bulkhead, type Permit } from '../resilience/bulkhead.ts';
import type { Deadline } from '../runtime/deadline.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { UpstreamCall } from './call.ts';
import { isLocal } from './call-endings.ts';

export interface ServerQueueParts {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly spec: ServerSpec;
}

export class ServerQueue {
  readonly #parts: ServerQueueParts;
  readonly #bulkhead: Bulkhead;
  readonly #stopFollowing: () => void;
  #idle: (() => void) | undefined;

  constructor(parts: ServerQueueParts) {
    this.#parts = parts;
    this.#bulkhead = new Bulkhead({
      inside: () => placesOf(parts),
      waiting: () => parts.limits.serverQueue,
      refusal: (why, busy, queued) => busyRefusal(parts.spec.slug, why, busy, queued),
    });
    this.#stopFollowing = parts.runtime.ceilings.onResize(() => this.#bulkhead.admit());
  }

  get waiting(): number {
    return this.#bulkhead.waiting;
  }

  get inside(): number {
    return this.#bulkhead.inside;
  }

  /**
   * Returns a permit or a refusal at once, or a promise of one when the call has to wait. Give the permit to `leave`.
   */
  enter(call: UpstreamCall): Outcome<Permit> | Promise<Outcome<Permit>> {
    const permit = this.#bulkhead.tryEnter(call.fairKey);
    if (permit) return permit;
    return this.#bulkhead.hasPlace(call.fairKey) ? this.#wait(call) : this.#bulkhead.refuse();
  }

  leave(permit: Permit): void {
    permit[Symbol.dispose]();
    if (this.#isEmpty) this.#idle?.();
  }

  /** Waits until no call is inside or waiting, or the deadline ends. Never rejects. */
  async drain(deadline: Deadline): Promise<void> {
    const { runtime, spec } = this.#parts;
    if (this.#isEmpty) return;
    const idle = new Promise<void>((resolve) => {
      this.#idle = resolve;
    });
    try {
      await runtime.waits.for(idle, { label: 'upstream-stop', owner: spec.slug, deadline });
    } catch {
      // Calls that are still pending end with the link.
    }
  }

  /** Stops following the limits. */
  close(): void {
    this.#stopFollowing();
  }

  get #isEmpty(): boolean {
    return this.#bulkhead.inside === 0 && this.#bulkhead.waiting === 0;
  }

  #wait(call: UpstreamCall): Outcome<Permit> | Promise<Outcome<Permit>> {
    const { runtime, limits } = this.#parts;
    const deadline = call.budget.deadline.sooner(limits.serverQueueMs);
    try {
      const wait = runtime.waits.open('upstream-queue', call.owner, deadline);
      const entered = (permit: Outcome<Permit>): Outcome<Permit> => {
        wait.leave();
        deadline[Symbol.dispose]();
        return permit;
      };
      const permit = this.#bulkhead.enter(deadline, call.fairKey);
      return permit instanceof Promise ? permit.then(entered) : entered(permit);
    } catch (fault) {
      deadline[Symbol.dispose]();
      throw fault;
    }
  }
}

function placesOf({ limits, spec }: ServerQueueParts): number {
  const isChild = isLocal(spec) && spec.transport.kind === 'stdio';
  return spec.inFlight ?? (isChild ? limits.stdioInFlight : limits.serverInFlight);
}

function busyRefusal(server: string, why: 'full' | 'waited', busy: number, queued: number): Refusal {
  const isLate = why === 'waited';
  const message = `${server} has ${busy} calls in flight and ${queued} waiting${isLate ? '; none ended in time' : ''}.`;
  const setting = isLate ? 'serverQueueMs' : 'inFlight';
  const detail = { server, phase: 'queue', setting, outcome: 'not-executed', retryAfterMs: 1000 } as const;
  return new Refusal('server-busy', message, detail);
}

/**
 * Publishes refusals for missing or wrong keys: the first refusal of an address at once, others as a count per second.
 * Guarantees: the `times` of the events add up to the number of refusals; the number of events per second is limited
 * for any number of addresses.
 */
import type { ErrorCode } from '../model/errors.ts';
import { TokenBucket } from '../resilience/token-bucket.ts';
import type { Runtime } from '../runtime/runtime.ts';

const COUNT_MS = 1000;
/** Most events with an address per second, for all addresses together. */
const EVENTS_PER_SECOND = 20;

/** An address, or an IPv6 network. */
export interface RefusedSender {
  /** Time of the last event that named it, in ms of the monotonic clock. */
  announcedMs: number;
}

export class RefusedKeys {
  readonly #runtime: Pick<Runtime, 'bus'>;
  readonly #events: TokenBucket;
  /** Refusals that no event has counted yet. */
  readonly #uncounted = new Map<ErrorCode, number>(); // bounded by: the error codes

  constructor(runtime: Pick<Runtime, 'bus' | 'clock' | 'timers'>) {
    this.#runtime = runtime;
    const nowMs = runtime.clock.nowMs();
    this.#events = new TokenBucket({ perSecond: EVENTS_PER_SECOND, burst: EVENTS_PER_SECOND, nowMs });
    runtime.timers.every(COUNT_MS, () => this.#publishCounts());
  }

  /** Counts a refusal, and publishes it when no event has named its sender for a second. */
  note(
    reason: ErrorCode,
    { address, sender }: { readonly address: string; readonly sender: RefusedSender },
    nowMs: number,
  ): void {
    if (nowMs - sender.announcedMs < COUNT_MS || !this.#events.take(nowMs)) {
      this.#uncounted.set(reason, (this.#uncounted.get(reason) ?? 0) + 1);
      return;
    }
    sender.announcedMs = nowMs;
    this.#runtime.bus.publish({ type: 'key-refused', reason, address, times: 1 });
  }

  #publishCounts(): void {
    for (const [reason, times] of this.#uncounted)
      this.#runtime.bus.publish({ type: 'key-refused', reason, address: '', times });
    this.#uncounted.clear();
  }
}

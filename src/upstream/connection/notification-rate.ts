/**
 * Limits the notifications that are passed on for one connection: `serverNotificationsPerSecond`, a burst of twice as
 * many, and `PER_CALL` for each call that was sent, so that progress and log lines of many short calls arrive; none
 * above `noticeBytes`. The rest is dropped and counted, and an event reports it at once and every ten seconds.
 */
import type { Limits } from '../../config/limits.ts';
import { TokenBucket } from '../../resilience/token-bucket.ts';
import type { Runtime } from '../../runtime/runtime.ts';

const TELL_EVERY_MS = 10_000;
const PER_CALL = 16;
/** Most notifications that calls may add. */
const MAX_CREDIT = 16_384;

export class NotificationRate {
  readonly #runtime: Runtime;
  readonly #server: string;
  readonly #maxBytes: number;
  readonly #bucket: TokenBucket;
  #credit = 0;
  #dropped = 0;
  #sentMs = Number.NEGATIVE_INFINITY;

  constructor(runtime: Runtime, limits: Pick<Limits, 'serverNotificationsPerSecond' | 'noticeBytes'>, server: string) {
    this.#runtime = runtime;
    this.#server = server;
    this.#maxBytes = limits.noticeBytes;
    const perSecond = limits.serverNotificationsPerSecond;
    this.#bucket = new TokenBucket({ perSecond, burst: 2 * perSecond, nowMs: runtime.clock.nowMs() });
  }

  /** Counts a call that was sent to the server. */
  earn(): void {
    this.#credit = Math.min(MAX_CREDIT, this.#credit + PER_CALL);
  }

  /** Returns false when this notification, of so many bytes, is dropped. */
  allows(bytes: number): boolean {
    if (bytes <= this.#maxBytes && this.#credit > 0) {
      this.#credit -= 1;
      return true;
    }
    const nowMs = this.#runtime.clock.nowMs();
    if (bytes <= this.#maxBytes && this.#bucket.take(nowMs)) return true;
    this.#dropped += 1;
    if (nowMs - this.#sentMs >= TELL_EVERY_MS) {
      this.#runtime.bus.publish({ type: 'notifications-dropped', server: this.#server, count: this.#dropped });
      this.#sentMs = nowMs;
      this.#dropped = 0;
    }
    return false;
  }
}

/**
 * Counts the invalid messages of one connection; an event reports the first, then at most one event every ten seconds.
 */
import type { Runtime } from '../../runtime/runtime.ts';

const REPORT_EVERY_MS = 10_000;

export class InvalidMessages {
  readonly #runtime: Runtime;
  readonly #server: string;
  readonly #counts = { repaired: 0, refused: 0 };
  #reportedMs = Number.NEGATIVE_INFINITY;

  constructor(runtime: Runtime, server: string) {
    this.#runtime = runtime;
    this.#server = server;
  }

  /** Counts a message that was repaired or refused. `reason` is the hub's own text. */
  count(kind: 'repaired' | 'refused', reason: string): void {
    this.#counts[kind] += 1;
    const nowMs = this.#runtime.clock.nowMs();
    if (nowMs - this.#reportedMs < REPORT_EVERY_MS) return;
    this.#reportedMs = nowMs;
    this.#runtime.bus.publish({ type: 'messages-invalid', server: this.#server, ...this.#counts, reason });
    this.#counts.repaired = 0;
    this.#counts.refused = 0;
  }
}

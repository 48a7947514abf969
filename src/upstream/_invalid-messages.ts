/** Counts the invalid messages of one connection; an event reports them at the first one and at most every ten seconds. */
import type { Kernel } from '../kernel/kernel.ts';

const REPORT_EVERY_MS = 10_000;

export class InvalidMessages {
  readonly #kernel: Kernel;
  readonly #server: string;
  readonly #counts = { repaired: 0, refused: 0 };
  #reportedMs = Number.NEGATIVE_INFINITY;

  constructor(kernel: Kernel, server: string) {
    this.#kernel = kernel;
    this.#server = server;
  }

  /** Counts one that was repaired, or refused. `reason` = words of the hub. */
  count(kind: 'repaired' | 'refused', reason: string): void {
    this.#counts[kind] += 1;
    const nowMs = this.#kernel.clock.nowMs();
    if (nowMs - this.#reportedMs < REPORT_EVERY_MS) return;
    this.#reportedMs = nowMs;
    this.#kernel.bus.publish({ type: 'messages-invalid', server: this.#server, ...this.#counts, reason });
    this.#counts.repaired = 0;
    this.#counts.refused = 0;
  }
}

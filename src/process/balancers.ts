/**
 * Detects clients that check readiness like a load balancer: the same address, repeatedly. While there are any, a
 * stopping worker accepts connections a little longer.
 * Guarantees: a single check, or several at once, do not count as a load balancer; at most `PROBERS` addresses are
 * remembered.
 */
import { CappedMap } from '../runtime/capped.ts';
import type { Runtime } from '../runtime/runtime.ts';

/** A load balancer that checked within this time in ms may still send requests. */
const RECENT_MS = 30_000;
/** Number of checks, over a minimum time, that make an address a load balancer. */
const PROBES = 3;
const SPAN_MS = 2000;
const PROBERS = 64;

interface Prober {
  readonly firstMs: number;
  lastMs: number;
  probes: number;
}

export class Balancers {
  readonly #runtime: Runtime;
  readonly #probers: CappedMap<string, Prober>;

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
    this.#probers = new CappedMap('process.probers', PROBERS, 'drop-oldest', runtime.ceilings);
  }

  /** Records that `address` checked readiness. */
  asked(address: string): void {
    const nowMs = this.#runtime.clock.nowMs();
    const prober = this.#probers.get(address);
    if (prober === undefined || nowMs - prober.lastMs > RECENT_MS) {
      this.#probers.set(address, { firstMs: nowMs, lastMs: nowMs, probes: 1 });
      return;
    }
    prober.lastMs = nowMs;
    prober.probes += 1;
  }

  /** True while an address checks repeatedly. */
  get areWatching(): boolean {
    const sinceMs = this.#runtime.clock.nowMs() - RECENT_MS;
    return [...this.#probers.values()].some(
      ({ firstMs, lastMs, probes }) => lastMs >= sinceMs && probes >= PROBES && lastMs - firstMs >= SPAN_MS,
    );
  }
}

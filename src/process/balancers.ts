/**
 * Which clients ask for readiness as a load balancer does: one address, again and again. A stop goes on accepting for a while for them.
 * Guarantees: one probe, or several at once, do not count as a balancer; at most `PROBERS` addresses are remembered.
 */
import { CappedMap } from '../runtime/capped.ts';
import type { Runtime } from '../runtime/runtime.ts';

/** A balancer that asked this lately is still sending. */
const RECENT_MS = 30_000;
/** So often, and over so long a time, an address has to ask. */
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

  /** `address` has asked for readiness. */
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

  /** True while an address asks again and again. */
  get areWatching(): boolean {
    const sinceMs = this.#runtime.clock.nowMs() - RECENT_MS;
    return [...this.#probers.values()].some(
      ({ firstMs, lastMs, probes }) => lastMs >= sinceMs && probes >= PROBES && lastMs - firstMs >= SPAN_MS,
    );
  }
}

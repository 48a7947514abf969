/**
 * Computes the state of the hub (live, ready, degraded) from memory. The supervisor decides about restarts, admission
 * about load shedding.
 * Guarantees: an answer costs microseconds in any state of servers, disk, Redis or control; the public answer contains
 * no names, figures or versions.
 */

import type { CatalogSize } from '../model/catalog-size.ts';
import type { ContainerLimitRow } from '../runtime/capped.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { WaitRow } from '../runtime/waits.ts';

export type HealthState = 'starting' | 'ok' | 'degraded' | 'overloaded' | 'draining';

/** The inputs of health, as functions over memory; `process/` provides them. */
export interface HealthSources {
  /** Servers by state; any state except `ready` and `disabled` makes the hub degraded. */
  servers(): readonly { readonly server: string; readonly state: string }[];
  /** The same servers without the details that only the operator may read. */
  publicServers(): readonly { readonly server: string }[];
  controlConnected(): boolean;
  snapshotRevision(): number;
  /**
   * `ageMs`: time since control last confirmed that these are the newest; undefined when it has not in this process.
   */
  keys(): { readonly revision: number; readonly ageMs: number | undefined };
  gauges(): ProcessFigures;
  /** True while new work is refused, because memory is short or the event loop is late. */
  overloaded(): boolean;
  /** Servers whose lists do not fit in a snapshot. */
  catalogsTooLarge(): readonly CatalogSize[];
  limits(): Readonly<Record<string, number>>;
  counts(): Readonly<Record<string, number>>;
}

export interface ProcessFigures {
  readonly rssBytes: number;
  readonly heapBytes: number;
  readonly loopP99Ms: number;
  /** Peak since the start. */
  readonly peakRssBytes: number;
  /** Resident memory in MB per hour over the last 15 minutes. */
  readonly slopeMbPerHour: number | undefined;
  /** Timers and handles that keep the event loop alive. */
  readonly active: number;
  readonly pressure: string;
}

export interface HealthAnswer {
  readonly httpStatus: 200 | 503;
  readonly body: { readonly status: HealthState };
}

export interface HealthDetail {
  readonly status: HealthState;
  readonly version: string;
  readonly hub: number;
  readonly pid: number;
  readonly uptimeMs: number;
  readonly snapshot: { readonly revision: number };
  readonly keys: { readonly revision: number; readonly ageMs: number | undefined };
  readonly process: ProcessFigures;
  readonly redis: { readonly state: 'not-configured' };
  readonly database: { readonly state: 'ok' | 'away'; readonly note: string };
  readonly servers: readonly object[];
  /** Lists that do not fit in snapshotBytes: a worker that starts has to read them from the server. */
  readonly catalogsTooLarge: readonly CatalogSize[];
  readonly counts: Readonly<Record<string, number>>;
  readonly waits: number;
}

/** What a key that is not an owner's may read: the servers of its own view, and nothing about the process. */
export interface MemberHealth {
  readonly status: HealthState;
  readonly version: string;
  readonly servers: readonly object[];
  /** Slugs of its servers whose lists do not fit in snapshotBytes. */
  readonly catalogsTooLarge: readonly string[];
}

export interface HealthParts {
  readonly runtime: Runtime;
  readonly slot: number;
  readonly version: string;
  readonly sources: HealthSources;
}

export class Health {
  readonly #parts: HealthParts;
  readonly #bornMs: number;
  #stage: 'starting' | 'serving' | 'draining' = 'starting';

  constructor(parts: HealthParts) {
    const { runtime } = parts;
    this.#parts = parts;
    this.#bornMs = runtime.clock.nowMs();
  }

  /** Marks the hub as started: all modules run and it has a snapshot. From now on it is ready. */
  started(): void {
    if (this.#stage === 'starting') this.#stage = 'serving';
  }

  draining(): void {
    this.#stage = 'draining';
  }

  state(): HealthState {
    const { sources } = this.#parts;
    if (this.#stage !== 'serving') return this.#stage;
    if (sources.overloaded()) return 'overloaded';
    if (!sources.controlConnected() || sources.catalogsTooLarge().length > 0) return 'degraded';
    return sources.servers().every((server) => ['ready', 'asleep', 'disabled'].includes(server.state))
      ? 'ok'
      : 'degraded';
  }

  /** Answers /health: 503 only while starting, draining or overloaded. */
  summary(): HealthAnswer {
    return this.#answer(this.#serves());
  }

  live(): HealthAnswer {
    return this.#answer(true);
  }

  ready(): HealthAnswer {
    return this.#answer(this.#serves());
  }

  startup(): HealthAnswer {
    return this.#answer(this.#stage !== 'starting');
  }

  /** Answers /api/health for owners and the operator of this machine. */
  detail(): HealthDetail {
    const { version, slot, runtime, sources } = this.#parts;
    return {
      status: this.state(),
      version,
      hub: slot,
      pid: process.pid,
      uptimeMs: Math.round(runtime.clock.nowMs() - this.#bornMs),
      snapshot: { revision: sources.snapshotRevision() },
      keys: sources.keys(),
      process: sources.gauges(),
      redis: { state: 'not-configured' },
      database: sources.controlConnected()
        ? { state: 'ok', note: 'held by the control process; calls do not need it' }
        : { state: 'away', note: 'the control process is unavailable; calls continue with the last snapshot' },
      servers: sources.servers(),
      catalogsTooLarge: sources.catalogsTooLarge(),
      counts: sources.counts(),
      waits: runtime.waits.size,
    };
  }

  /** Answers /api/health for any other key; `servers` are the slugs of its view. */
  memberDetail(servers: readonly string[]): MemberHealth {
    const { version, sources } = this.#parts;
    return {
      status: this.state(),
      version,
      servers: sources.publicServers().filter(({ server }) => servers.includes(server)),
      catalogsTooLarge: sources.catalogsTooLarge().flatMap(({ server }) => (servers.includes(server) ? [server] : [])),
    };
  }

  waits(): readonly WaitRow[] {
    const { runtime } = this.#parts;
    return runtime.waits.table();
  }

  ceilings(): readonly ContainerLimitRow[] {
    const { runtime } = this.#parts;
    return runtime.ceilings.table();
  }

  /** The values of the limits in force. */
  limits(): Readonly<Record<string, number>> {
    return this.#parts.sources.limits();
  }

  #answer(up: boolean): HealthAnswer {
    return { httpStatus: up ? 200 : 503, body: { status: this.state() } };
  }

  #serves(): boolean {
    const { sources } = this.#parts;
    return this.#stage === 'serving' && !sources.overloaded();
  }
}

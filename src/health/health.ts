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

export interface Health {
  /** Marks the hub as started: all modules run and it has a snapshot. From now on it is ready. */
  started(): void;
  draining(): void;
  state(): HealthState;
  /** Answers /health: 503 only while starting, draining or overloaded. */
  summary(): HealthAnswer;
  live(): HealthAnswer;
  ready(): HealthAnswer;
  startup(): HealthAnswer;
  /** Answers /api/health for owners and the operator of this machine. */
  detail(): HealthDetail;
  /** Answers /api/health for any other key; `servers` are the slugs of its view. */
  memberDetail(servers: readonly string[]): MemberHealth;
  waits(): readonly WaitRow[];
  ceilings(): readonly ContainerLimitRow[];
  /** The values of the limits in force. */
  limits(): Readonly<Record<string, number>>;
}

export function createHealth(parts: {
  runtime: Runtime;
  slot: number;
  version: string;
  sources: HealthSources;
}): Health {
  const { runtime, slot, version, sources } = parts;
  const bornMs = runtime.clock.nowMs();
  let stage: 'starting' | 'serving' | 'draining' = 'starting';

  function state(): HealthState {
    if (stage !== 'serving') return stage;
    if (sources.overloaded()) return 'overloaded';
    if (!sources.controlConnected() || sources.catalogsTooLarge().length > 0) return 'degraded';
    return sources.servers().every((server) => ['ready', 'asleep', 'disabled'].includes(server.state))
      ? 'ok'
      : 'degraded';
  }

  function answer(up: boolean): HealthAnswer {
    return { httpStatus: up ? 200 : 503, body: { status: state() } };
  }

  function serves(): boolean {
    return stage === 'serving' && !sources.overloaded();
  }

  return {
    started() {
      if (stage === 'starting') stage = 'serving';
    },
    draining() {
      stage = 'draining';
    },
    state,
    summary: () => answer(serves()),
    live: () => answer(true),
    ready: () => answer(serves()),
    startup: () => answer(stage !== 'starting'),
    detail: () => ({
      status: state(),
      version,
      hub: slot,
      pid: process.pid,
      uptimeMs: Math.round(runtime.clock.nowMs() - bornMs),
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
    }),
    memberDetail: (servers) => ({
      status: state(),
      version,
      servers: sources.publicServers().filter(({ server }) => servers.includes(server)),
      catalogsTooLarge: sources.catalogsTooLarge().flatMap(({ server }) => (servers.includes(server) ? [server] : [])),
    }),
    waits: () => runtime.waits.table(),
    ceilings: () => runtime.ceilings.table(),
    limits: sources.limits,
  };
}

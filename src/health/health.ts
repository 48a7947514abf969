/**
 * How this hub is: live, ready, degraded, from what is in memory. Nothing here waits or asks anybody.
 * Promises: an answer costs microseconds whatever servers, disk, Redis or control do; the public answer holds no name, figure or version.
 * Does not: decide restarts (the supervisor) or shed load (admission).
 */

import type { CatalogSize } from '../model/catalog-size.ts';
import type { ContainerLimitRow } from '../runtime/capped.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { WaitRow } from '../runtime/waits.ts';

export type HealthState = 'starting' | 'ok' | 'degraded' | 'overloaded' | 'draining';

/** What health reads; plain functions over memory, given by `process/`. */
export interface HealthSources {
  /** Servers by state; `ready` and `disabled` are fine, the others make the hub degraded. */
  servers(): readonly { readonly server: string; readonly state: string }[];
  /** The same servers without what only the operator may read. */
  publicServers(): readonly { readonly server: string }[];
  controlConnected(): boolean;
  snapshotRevision(): number;
  /** `ageMs`: since control last said that these are the newest; undefined = it has not, in this process. */
  keys(): { readonly revision: number; readonly ageMs: number | undefined };
  gauges(): ProcessFigures;
  /** New work is refused, for want of memory or because the loop is late. */
  overloaded(): boolean;
  /** Servers whose lists do not fit in a snapshot. */
  catalogsTooLarge(): readonly CatalogSize[];
  counts(): Readonly<Record<string, number>>;
}

export interface ProcessFigures {
  readonly rssBytes: number;
  readonly heapBytes: number;
  readonly loopP99Ms: number;
  /** Highest since the start. */
  readonly peakRssBytes: number;
  /** Resident memory, MB an hour over the last quarter of an hour. */
  readonly slopeMbPerHour: number | undefined;
  /** Timers and handles that the loop holds. */
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

/** What a key that is not an owner's may read: the servers of its own view, and nothing of the process. */
export interface MemberHealth {
  readonly status: HealthState;
  readonly version: string;
  readonly servers: readonly object[];
  /** Slugs of those servers whose lists do not fit in snapshotBytes. */
  readonly catalogsTooLarge: readonly string[];
}

export interface Health {
  /** The hub has its rooms and a world; from now on it is ready. */
  started(): void;
  draining(): void;
  state(): HealthState;
  /** /health: 503 only while starting, draining or overloaded. */
  summary(): HealthAnswer;
  live(): HealthAnswer;
  ready(): HealthAnswer;
  startup(): HealthAnswer;
  /** /api/health for owners and the operator of this machine. */
  detail(): HealthDetail;
  /** /api/health for any other key; `servers` = slugs of its view. */
  memberDetail(servers: readonly string[]): MemberHealth;
  waits(): readonly WaitRow[];
  ceilings(): readonly ContainerLimitRow[];
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
        : { state: 'away', note: 'the control process is away; calls go on from the last snapshot' },
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
  };
}

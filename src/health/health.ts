/**
 * How this hub is: live, ready, degraded, from what is in memory. Nothing here waits or asks anybody.
 * Promises: an answer costs microseconds whatever servers, disk, Redis or control do; the public answer holds no name, figure or version.
 * Does not: decide restarts (the guard) or shed load (admission).
 */
import type { CeilingRow } from '../kernel/capped.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { WaitRow } from '../kernel/waits.ts';

export type HealthState = 'starting' | 'ok' | 'degraded' | 'draining';

/** What health reads; plain functions over memory, given by `process/`. */
export interface HealthSources {
  /** Servers by state; `ready` and `disabled` are fine, the others make the hub degraded. */
  servers(): readonly { readonly server: string; readonly state: string }[];
  controlConnected(): boolean;
  snapshotRevision(): number;
  gauges(): { readonly rssBytes: number; readonly heapBytes: number; readonly loopP99Ms: number };
  counts(): Readonly<Record<string, number>>;
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
  readonly process: { readonly rssBytes: number; readonly heapBytes: number; readonly loopP99Ms: number };
  readonly redis: { readonly state: 'not-configured' };
  readonly database: { readonly state: 'ok' | 'away'; readonly note: string };
  readonly servers: readonly object[];
  readonly counts: Readonly<Record<string, number>>;
  readonly waits: number;
}

export interface Health {
  /** The hub has its rooms and a world; from now on it is ready. */
  started(): void;
  draining(): void;
  state(): HealthState;
  /** /health: 503 only while starting or draining. */
  summary(): HealthAnswer;
  live(): HealthAnswer;
  ready(): HealthAnswer;
  startup(): HealthAnswer;
  /** /api/health for a caller with a key. */
  detail(): HealthDetail;
  waits(): readonly WaitRow[];
  ceilings(): readonly CeilingRow[];
}

export function createHealth(parts: { kernel: Kernel; slot: number; version: string; sources: HealthSources }): Health {
  const { kernel, slot, version, sources } = parts;
  const bornMs = kernel.clock.nowMs();
  let stage: 'starting' | 'serving' | 'draining' = 'starting';

  function state(): HealthState {
    if (stage !== 'serving') return stage;
    if (!sources.controlConnected()) return 'degraded';
    return sources.servers().every((server) => server.state === 'ready' || server.state === 'disabled')
      ? 'ok'
      : 'degraded';
  }

  function answer(up: boolean): HealthAnswer {
    return { httpStatus: up ? 200 : 503, body: { status: state() } };
  }

  return {
    started() {
      if (stage === 'starting') stage = 'serving';
    },
    draining() {
      stage = 'draining';
    },
    state,
    summary: () => answer(stage === 'serving'),
    live: () => answer(true),
    ready: () => answer(stage === 'serving'),
    startup: () => answer(stage !== 'starting'),
    detail: () => ({
      status: state(),
      version,
      hub: slot,
      pid: process.pid,
      uptimeMs: Math.round(kernel.clock.nowMs() - bornMs),
      snapshot: { revision: sources.snapshotRevision() },
      process: sources.gauges(),
      redis: { state: 'not-configured' },
      database: sources.controlConnected()
        ? { state: 'ok', note: 'held by the control process; calls do not need it' }
        : { state: 'away', note: 'the control process is away; calls go on from the last snapshot' },
      servers: sources.servers(),
      counts: sources.counts(),
      waits: kernel.waits.size,
    }),
    waits: () => kernel.waits.table(),
    ceilings: () => kernel.ceilings.table(),
  };
}

/**
 * Keeps what workers report: connected or not, snapshot revision, server statuses. Never requests anything.
 */

import type { HubEvent } from '../model/events.ts';
import type { ReportedStatus, WorkerFigures } from '../relay/relay-messages.ts';
import { CappedMap } from '../runtime/capped.ts';
import type { RequestTotals } from '../runtime/request-counts.ts';
import type { Runtime } from '../runtime/runtime.ts';

const MAX_WORKERS = 128;

export interface WorkerReport {
  readonly slot: number;
  readonly connected: boolean;
  readonly pid: number | undefined;
  readonly revision: number;
  /** Wall clock ms of the last change of `connected`. */
  readonly sinceAtMs: number;
  readonly factsDropped: number;
  /** Empty while the worker is not connected. `sinceMs` and `retryMs` are as of `statusesAtMs`. */
  readonly statuses: readonly ReportedStatus[];
  /** Requests of clients since the worker started; undefined = not reported yet. */
  readonly requests: RequestTotals | undefined;
  /** Limits that this worker takes with its next start; empty while it is not connected. */
  readonly awaitingRestart: readonly string[];
  /** Monotonic ms. */
  readonly statusesAtMs: number;
}

export interface WorkerReports {
  connected(slot: number, pid: number, revision: number): void;
  disconnected(slot: number): void;
  /** Records that connected workers have been sent this revision. */
  published(revision: number): void;
  receiveEvents(slot: number, facts: readonly HubEvent[]): void;
  statuses(slot: number, servers: readonly ReportedStatus[], figures?: WorkerFigures): void;
  /** Returns reports ordered by slot. */
  list(): readonly WorkerReport[];
}

export function createWorkerReports(runtime: Runtime): WorkerReports {
  const reports = new CappedMap<number, WorkerReport>('control.hubs', MAX_WORKERS, 'drop-oldest', runtime.ceilings);

  function update(slot: number, what: Partial<WorkerReport>): void {
    const before = reports.get(slot) ?? {
      slot,
      connected: false,
      pid: undefined,
      revision: 0,
      sinceAtMs: runtime.clock.wallMs(),
      factsDropped: 0,
      statuses: [],
      requests: undefined,
      awaitingRestart: [],
      statusesAtMs: runtime.clock.nowMs(),
    };
    reports.set(slot, { ...before, ...what });
  }

  return {
    connected: (slot, pid, revision) =>
      update(slot, {
        connected: true,
        pid,
        revision,
        sinceAtMs: runtime.clock.wallMs(),
        statuses: [],
        requests: undefined,
        awaitingRestart: [],
      }),
    disconnected: (slot) =>
      update(slot, {
        connected: false,
        sinceAtMs: runtime.clock.wallMs(),
        statuses: [],
        requests: undefined,
        awaitingRestart: [],
      }),
    published(revision) {
      for (const { slot, connected } of [...reports.values()]) if (connected) update(slot, { revision });
    },
    receiveEvents(slot, facts) {
      let more = 0;
      for (const fact of facts) if (fact.type === 'facts-dropped') more += fact.count;
      if (more > 0) update(slot, { factsDropped: (reports.get(slot)?.factsDropped ?? 0) + more });
    },
    statuses: (slot, servers, { requests, awaitingRestart = [] } = {}) =>
      update(slot, { statuses: servers, requests, awaitingRestart, statusesAtMs: runtime.clock.nowMs() }),
    list: () => [...reports.values()].sort((a, b) => a.slot - b.slot),
  };
}

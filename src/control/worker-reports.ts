/**
 * Keeps what workers report: connected or not, snapshot revision, server statuses. Never requests anything.
 */
import { CappedMap } from '../kernel/capped.ts';
import type { Fact } from '../kernel/facts.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { RequestTotals } from '../kernel/request-counts.ts';
import type { ReportedStatus } from '../relay/relay-messages.ts';

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
  /** Monotonic ms. */
  readonly statusesAtMs: number;
}

export interface WorkerReports {
  connected(slot: number, pid: number, revision: number): void;
  disconnected(slot: number): void;
  /** Records that connected workers have been sent this revision. */
  published(revision: number): void;
  receiveEvents(slot: number, facts: readonly Fact[]): void;
  statuses(slot: number, servers: readonly ReportedStatus[], requests?: RequestTotals): void;
  /** Returns reports ordered by slot. */
  list(): readonly WorkerReport[];
}

export function createWorkerReports(kernel: Kernel): WorkerReports {
  const reports = new CappedMap<number, WorkerReport>('control.hubs', MAX_WORKERS, 'drop-oldest', kernel.ceilings);

  function update(slot: number, what: Partial<WorkerReport>): void {
    const before = reports.get(slot) ?? {
      slot,
      connected: false,
      pid: undefined,
      revision: 0,
      sinceAtMs: kernel.clock.wallMs(),
      factsDropped: 0,
      statuses: [],
      requests: undefined,
      statusesAtMs: kernel.clock.nowMs(),
    };
    reports.set(slot, { ...before, ...what });
  }

  return {
    connected: (slot, pid, revision) =>
      update(slot, {
        connected: true,
        pid,
        revision,
        sinceAtMs: kernel.clock.wallMs(),
        statuses: [],
        requests: undefined,
      }),
    disconnected: (slot) =>
      update(slot, { connected: false, sinceAtMs: kernel.clock.wallMs(), statuses: [], requests: undefined }),
    published(revision) {
      for (const { slot, connected } of [...reports.values()]) if (connected) update(slot, { revision });
    },
    receiveEvents(slot, facts) {
      let more = 0;
      for (const fact of facts) if (fact.type === 'facts-dropped') more += fact.count;
      if (more > 0) update(slot, { factsDropped: (reports.get(slot)?.factsDropped ?? 0) + more });
    },
    statuses: (slot, servers, requests) =>
      update(slot, { statuses: servers, requests, statusesAtMs: kernel.clock.nowMs() }),
    list: () => [...reports.values()].sort((a, b) => a.slot - b.slot),
  };
}

/**
 * What control knows of each hub: is it there, which world has it, how do its servers stand. Only from what hubs tell; nobody is asked.
 */
import { CappedMap } from '../kernel/capped.ts';
import type { Fact } from '../kernel/facts.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { RequestTotals } from '../kernel/request-counts.ts';
import type { ReportedStatus } from '../relay/relay-messages.ts';

const HUBS = 128;

export interface HubReport {
  readonly slot: number;
  readonly connected: boolean;
  readonly pid: number | undefined;
  readonly revision: number;
  /** Wall clock ms of the last change of `connected`. */
  readonly sinceAtMs: number;
  readonly factsDropped: number;
  /** As told; empty while it is away. `sinceMs` and `retryMs` are as of `statusesAtMs`. */
  readonly statuses: readonly ReportedStatus[];
  /** Of clients, since the start of its process; undefined = not reported yet. */
  readonly requests: RequestTotals | undefined;
  /** Monotonic ms. */
  readonly statusesAtMs: number;
}

export interface HubReports {
  hello(slot: number, pid: number, revision: number): void;
  gone(slot: number): void;
  /** Connected hubs have been sent this revision. */
  sent(revision: number): void;
  facts(slot: number, facts: readonly Fact[]): void;
  statuses(slot: number, servers: readonly ReportedStatus[], requests?: RequestTotals): void;
  /** In order of slot. */
  list(): readonly HubReport[];
}

export function createHubReports(kernel: Kernel): HubReports {
  const reports = new CappedMap<number, HubReport>('control.hubs', HUBS, 'drop-oldest', kernel.ceilings);

  function change(slot: number, what: Partial<HubReport>): void {
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
    hello: (slot, pid, revision) =>
      change(slot, {
        connected: true,
        pid,
        revision,
        sinceAtMs: kernel.clock.wallMs(),
        statuses: [],
        requests: undefined,
      }),
    gone: (slot) =>
      change(slot, { connected: false, sinceAtMs: kernel.clock.wallMs(), statuses: [], requests: undefined }),
    sent(revision) {
      for (const { slot, connected } of [...reports.values()]) if (connected) change(slot, { revision });
    },
    facts(slot, facts) {
      let more = 0;
      for (const fact of facts) if (fact.type === 'facts-dropped') more += fact.count;
      if (more > 0) change(slot, { factsDropped: (reports.get(slot)?.factsDropped ?? 0) + more });
    },
    statuses: (slot, servers, requests) =>
      change(slot, { statuses: servers, requests, statusesAtMs: kernel.clock.nowMs() }),
    list: () => [...reports.values()].sort((a, b) => a.slot - b.slot),
  };
}

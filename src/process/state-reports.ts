/**
 * Reports server states, request counts and used keys from a worker to control: every second, and in the turn after a
 * state change, so that `servers list` agrees with what clients of this worker see.
 */
import type { HubEvent } from '../model/events.ts';
import type { RelayClient } from '../relay/relay-client.ts';
import type { RequestTotals } from '../runtime/request-counts.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { ServerStatus } from '../upstream/status.ts';

const REPORT_EVERY_MS = 1000;

/** Events after which a server may differ from its last report. */
const STATE_CHANGES: ReadonlySet<HubEvent['type']> = new Set<HubEvent['type']>([
  'server-phase-entered',
  'server-became-ready',
  'server-was-lost',
  'server-fell-asleep',
  'server-stopped',
  'server-listed',
  'breaker-opened',
  'breaker-closed',
  'snapshot-swapped',
]);

/** Starts reporting; several changes within one turn of the loop make one report. */
export function reportStates(parts: {
  readonly runtime: Runtime;
  readonly relay: Pick<RelayClient, 'sendStatuses' | 'sendUsedKeys'>;
  readonly statuses: () => readonly ServerStatus[];
  readonly requests: () => RequestTotals;
  readonly awaitingRestart: () => readonly string[];
  readonly takeUsedKeys: () => readonly string[];
}): void {
  const { runtime, relay } = parts;
  let pending: Disposable | undefined;

  function report(): void {
    pending?.[Symbol.dispose]();
    pending = undefined;
    relay.sendStatuses(parts.statuses(), parts.requests(), parts.awaitingRestart());
  }

  runtime.bus.listen((event) => {
    if (STATE_CHANGES.has(event.type)) pending ??= runtime.timers.after(0, report);
  });
  runtime.timers.every(REPORT_EVERY_MS, () => {
    report();
    const used = parts.takeUsedKeys();
    if (used.length > 0) relay.sendUsedKeys(used);
  });
  report();
}

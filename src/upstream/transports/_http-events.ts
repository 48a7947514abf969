/**
 * Stands between the transport's parts and the link: silent once stopped, and a listener that throws is reported instead of thrown into
 * the pool (which would fail the exchange).
 * Does not: change or keep events.
 */
import type { Kernel } from '../../kernel/kernel.ts';
import type { TransportEvents } from '../transport.ts';

export function guardedEvents(
  events: TransportEvents,
  kernel: Kernel,
  server: string,
  isStopped: () => boolean,
): TransportEvents {
  const guard = <T>(run: () => T): T | undefined => {
    if (isStopped()) return undefined;
    try {
      return run();
    } catch (fault) {
      kernel.bus.publish({ type: 'task-faulted', task: `events of ${server}`, fault });
      return undefined;
    }
  };
  return {
    message: (envelope, exchange) => guard(() => events.message(envelope, exchange)),
    failed: (id, fault) => guard(() => events.failed(id, fault)),
    alive: (id) => guard(() => events.alive(id)),
    phase: (phase) => guard(() => events.phase(phase)),
    sessionLost: (id) => guard(() => events.sessionLost(id)),
    closed: (fault) => guard(() => events.closed(fault)),
    said: (line) => guard(() => events.said(line)),
  };
}

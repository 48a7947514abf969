/**
 * Passes a transport's events to the link: none after a stop, and a listener that throws is reported, because in the
 * pool the exception would fail the exchange.
 */
import type { Runtime } from '../../runtime/runtime.ts';
import type { TransportEvents } from './transport.ts';

export function guardedEvents(
  events: TransportEvents,
  runtime: Runtime,
  server: string,
  isStopped: () => boolean,
): TransportEvents {
  const faulted = (fault: unknown): undefined => {
    runtime.bus.publish({ type: 'task-faulted', task: `events of ${server}`, fault });
    return undefined;
  };
  const guard = <T>(run: () => T): T | undefined => {
    if (isStopped()) return undefined;
    try {
      return run();
    } catch (fault) {
      return faulted(fault);
    }
  };
  // The two events of every call are written out, to avoid a closure for each.
  return {
    message(envelope, exchange) {
      if (isStopped()) return;
      try {
        events.message(envelope, exchange);
      } catch (fault) {
        faulted(fault);
      }
    },
    alive(id) {
      if (isStopped()) return;
      try {
        events.alive(id);
      } catch (fault) {
        faulted(fault);
      }
    },
    failed: (id, fault) => guard(() => events.failed(id, fault)),
    unreadable: (fault) => guard(() => events.unreadable(fault)),
    unmatched: (id) => guard(() => events.unmatched(id)),
    phase: (phase) => guard(() => events.phase(phase)),
    sessionLost: (id, fault) => guard(() => events.sessionLost(id, fault)),
    closed: (fault) => guard(() => events.closed(fault)),
    said: (line) => guard(() => events.said(line)),
    learned: (note) => guard(() => events.learned(note)),
    question: () => guard(() => events.question()),
  };
}

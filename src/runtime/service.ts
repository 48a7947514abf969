/**
 * Services start in order and stop in reverse, each within its part of the time. `process/` has the lists.
 * Guarantees: when a start fails, `startAll` stops what had started; `stopAll` never throws and ends by the deadline.
 */
import type { Deadline } from './deadline.ts';
import type { Runtime } from './runtime.ts';

export interface Service {
  readonly name: string;
  /** May reject. Idempotent. */
  start(deadline: Deadline): Promise<void>;
  /** Must not reject. Idempotent. Ends by the deadline. */
  stop(deadline: Deadline): Promise<void>;
}

export async function startAll(services: readonly Service[], runtime: Runtime, deadline: Deadline): Promise<void> {
  const started: Service[] = [];
  for (const service of services) {
    try {
      await runtime.waits.for(service.start(deadline), { label: 'service-start', owner: service.name, deadline });
      started.push(service);
    } catch (fault) {
      await stopAll(started, runtime, deadline);
      throw fault;
    }
  }
}

/**
 * Stops services in reverse order. Each gets an equal part of the remaining time, so that one that hangs does not use
 * up the time of the next. Returns the names of those that did not stop in time.
 */
export async function stopAll(services: readonly Service[], runtime: Runtime, deadline: Deadline): Promise<string[]> {
  const stuck: string[] = [];
  let left = services.length;
  for (const service of services.toReversed()) {
    using share = deadline.sooner(deadline.remainingMs() / left);
    left -= 1;
    try {
      await runtime.waits.for(service.stop(share), { label: 'service-stop', owner: service.name, deadline: share });
    } catch (fault) {
      stuck.push(service.name);
      runtime.bus.publish({ type: 'task-faulted', task: `stop ${service.name}`, fault });
    }
  }
  return stuck;
}

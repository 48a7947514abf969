/**
 * Keeps an error in the handling of one message from affecting other messages and connections.
 */
import type { Runtime } from '../runtime/runtime.ts';

/** Runs `work`; publishes what it throws as a fault of `task`. */
export function guarded(runtime: Runtime, task: string, work: () => void): void {
  try {
    work();
  } catch (fault) {
    runtime.bus.publish({ type: 'task-faulted', task, fault });
  }
}

/**
 * Makes the containers of a process follow its limits, and reports those that wait for a restart.
 */
import type { CurrentLimits } from '../config/current-limits.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { inTurns } from '../runtime/take-turn.ts';

/**
 * After each change of the limits gives the containers their new maxima at once, and drops what is above them over
 * several turns of the event loop.
 */
export function followLimits(runtime: Runtime, currentLimits: CurrentLimits): void {
  currentLimits.onChange(() => {
    runtime.ceilings.resize();
    runtime.scope.run('shrink containers', () =>
      inTurns(runtime.ceilings.shrinkSteps(), runtime, { owner: 'containers' }),
    );
  });
}

/** Publishes the limits that wait for a restart of this process, whenever others do than before. */
export function reportAwaitingRestart(runtime: Runtime, currentLimits: CurrentLimits): void {
  let reported = '';
  currentLimits.onAdopt(() => {
    const limits = currentLimits.awaitingRestart;
    const names = limits.join();
    if (names !== '' && names !== reported) runtime.bus.publish({ type: 'restart-needed', limits });
    reported = names;
  });
}

/** Waits between two connections of a link. */
import type { HubError } from '../../model/errors.ts';
import { publishLost } from './link-events.ts';
import type { LinkParts } from './link-parts.ts';
import type { LinkStateTracker } from './link-state.ts';
import type { ReconnectBackoff } from './reconnect-backoff.ts';

/** How a connection ended. `asleep`: why the server sleeps until it is called; undefined when it is started again. */
export interface ConnectionEnd {
  readonly fault: HubError;
  readonly asleep: HubError | undefined;
}

/** Waits until the next attempt is due, or is requested. */
export async function waitForRetry(
  { runtime, limits, spec }: Pick<LinkParts, 'runtime' | 'limits' | 'spec'>,
  backoff: ReconnectBackoff,
  state: LinkStateTracker,
  { fault, asleep }: ConnectionEnd,
): Promise<void> {
  if (asleep) {
    state.sleep(asleep);
    return backoff.sleep(undefined, runtime.timers);
  }
  const retryMs = backoff.next(limits, runtime.random);
  state.backOff(fault, retryMs, backoff.failures);
  publishLost(runtime, spec.slug, fault, retryMs);
  await backoff.sleep(retryMs, runtime.timers);
}

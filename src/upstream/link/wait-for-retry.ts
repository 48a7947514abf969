/** Waits between two connections of a link. */
import type { HubError } from '../../model/errors.ts';
import { publishLost } from './link-events.ts';
import type { LinkParts } from './link-parts.ts';
import type { LinkStateTracker } from './link-state.ts';
import type { ReconnectBackoff } from './reconnect-backoff.ts';

/** Waits until the next attempt is due, or is requested. */
export async function waitForRetry(
  { runtime, limits, spec }: Pick<LinkParts, 'runtime' | 'limits' | 'spec'>,
  backoff: ReconnectBackoff,
  linkState: LinkStateTracker,
  fault: HubError,
): Promise<void> {
  if (linkState.state === 'asleep') return backoff.sleep(undefined, runtime.timers);
  const retryMs = backoff.next(limits, runtime.random);
  linkState.rests(retryMs, backoff.failures);
  publishLost(runtime, spec.slug, fault, retryMs);
  await backoff.sleep(retryMs, runtime.timers);
}

/** The rest of a link between two lives. */
import type { HubError } from '../kernel/errors.ts';
import { publishLost } from './_link-facts.ts';
import type { LinkParts } from './_link-parts.ts';
import type { Rest } from './_rest.ts';
import type { Standing } from './_standing.ts';

/** Waits until it is time to try again, or somebody asks for it. */
export async function restAfter(
  { kernel, limits, spec }: Pick<LinkParts, 'kernel' | 'limits' | 'spec'>,
  rest: Rest,
  standing: Standing,
  fault: HubError,
): Promise<void> {
  if (standing.state === 'asleep') return rest.sleep(undefined, kernel.timers);
  const retryMs = rest.next(limits, kernel.random);
  standing.rests(retryMs, rest.failures);
  publishLost(kernel, spec.slug, fault, retryMs);
  await rest.sleep(retryMs, kernel.timers);
}

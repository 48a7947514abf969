/** The time that a connection of a link has to close. */
import type { Limits } from '../../config/limits.ts';
import type { Deadline } from '../../runtime/deadline.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { LinkStateTracker } from './link-state.ts';

/** The transport's part of the time to stop. */
const CLOSE_SHARE = 0.9;

/** Returns the deadline to close a connection: a part of the time to stop, or three times `childTermMs`. */
export function closingDeadline(
  { runtime, limits }: { readonly runtime: Runtime; readonly limits: Pick<Limits, 'childTermMs'> },
  { stage }: Pick<LinkStateTracker, 'stage'>,
): Deadline {
  if (stage.kind === 'stopped') return stage.until.sooner(stage.until.remainingMs() * CLOSE_SHARE);
  return runtime.deadline(limits.childTermMs * 3);
}

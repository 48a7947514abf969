/**
 * logging/setLevel: sets the lowest level of the log lines that a session receives.
 * Guarantees: answered at once, at a cost that does not depend on the number of sessions; only servers of the caller's
 * view get a request, in the background, shared ones for the most verbose level of all sessions.
 */
import { type Outcome, Refusal } from '../model/outcome.ts';
import { LOG_LEVELS } from '../protocol/log-level.ts';
import { paramSpan, stringAt } from '../protocol/scan.ts';
import type { Call, Reply } from './call.ts';
import type { PipelineParts } from './pipeline-parts.ts';
import { tooMuch } from './subscribe.ts';

const DONE: Reply = { kind: 'result', json: Buffer.from('{}') };

export function setLevel(
  call: Call,
  { preferences, registry }: Pick<PipelineParts, 'preferences' | 'registry'>,
): Outcome<Reply> {
  const { envelope, session, view } = call;
  const { bytes, params } = envelope;
  const level = params.at < 0 ? undefined : stringAt(bytes, paramSpan(envelope, 'level'), 40);
  if (level === undefined || !LOG_LEVELS.includes(level))
    return new Refusal('invalid-params', `params.level must be one of ${LOG_LEVELS.join(', ')}.`);
  // Without a session no lines can be sent later; the request succeeds all the same.
  if (!session) return DONE;
  const limit = preferences.setLevel(session, level);
  if (limit) return tooMuch(limit);
  for (const slug of view.servers) {
    registry.logLevelChanged(slug, undefined);
    registry.logLevelChanged(slug, session.random);
  }
  return DONE;
}

/**
 * logging/setLevel: from now on this session hears lines of this level and above.
 * Promises: answered at once; servers are told in the background, the shared ones the most verbose level that any session wants.
 * Source: protocol.md §1.4, logging.
 */
import { type Outcome, Refusal } from '../kernel/outcome.ts';
import { LOG_LEVELS } from '../protocol/log-level.ts';
import { memberSpan, stringAt } from '../protocol/scan.ts';
import type { Call, Reply } from './call.ts';
import type { LineRooms } from './rooms.ts';

const DONE: Reply = { kind: 'result', json: Buffer.from('{}') };

export function setLevel(call: Call, { notes, fleet }: Pick<LineRooms, 'notes' | 'fleet'>): Outcome<Reply> {
  const { envelope, session, world } = call;
  const { bytes, params } = envelope;
  const level = params.at < 0 ? undefined : stringAt(bytes, memberSpan(bytes, params, 'level'), 40);
  if (level === undefined || !LOG_LEVELS.includes(level))
    return new Refusal('invalid-params', `params.level must be one of ${LOG_LEVELS.join(', ')}.`);
  // Without a session there is nobody to send lines to later; the wish is fulfilled all the same.
  if (!session) return DONE;
  notes.setLevel(session.random, level);
  for (const { slug } of world.servers) {
    fleet.logLevelChanged(slug, undefined);
    fleet.logLevelChanged(slug, session.random);
  }
  return DONE;
}

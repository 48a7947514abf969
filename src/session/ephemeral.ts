/**
 * Who listens, or is asked, in the stateless era: like a session to the rooms that send, but no id leads to it. It lives as long as its request.
 * Promises: nothing of it is written down or told to other hubs.
 */
import { randomBytes } from 'node:crypto';
import { shareOf } from '../kernel/principal.ts';
import type { Session, SessionWish } from './sessions.ts';

const MARK = '~';

export function fleetingSession(wish: SessionWish, issuedMs: number): Session {
  const random = MARK + randomBytes(16).toString('hex');
  const { principal, owner = shareOf(principal, ''), ...rest } = wish;
  return {
    ...rest,
    owner,
    ...{ id: random, random, issuedMs, shortId: random.slice(0, 9) },
    ...{ userId: principal.userId, family: principal.family },
  };
}

/** By the random part of a session's id. */
export function isFleeting(random: string): boolean {
  return random.startsWith(MARK);
}

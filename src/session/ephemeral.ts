/**
 * Sessions of the stateless era (2026-07-28): they exist for one request, and no session id refers to them.
 * Guarantees: they are never stored or replicated.
 */
import { randomBytes } from 'node:crypto';
import { shareOf } from '../model/principal.ts';
import type { NewSession, Session } from './sessions.ts';

const PREFIX = '~';

export function createEphemeralSession(newSession: NewSession, issuedMs: number): Session {
  const random = PREFIX + randomBytes(16).toString('hex');
  const { principal, owner = shareOf(principal, ''), ...rest } = newSession;
  return {
    ...rest,
    owner,
    id: random,
    random,
    issuedMs,
    shortId: random.slice(0, 9),
    userId: principal.userId,
    family: principal.family,
  };
}

/** Returns whether the random part of a session id belongs to an ephemeral session. */
export function isEphemeral(random: string): boolean {
  return random.startsWith(PREFIX);
}

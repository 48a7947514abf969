/**
 * What a call is told about a server that is not ready: how it stands, since when, and when it is tried again.
 */
import type { LinkPhase } from '../kernel/facts.ts';
import { Refusal } from '../kernel/outcome.ts';
import { phaseSetting } from './_endings.ts';
import type { LinkView } from './_standing.ts';

/** When a client may look again, ms. */
const LOOK_AGAIN_MS = 2000;

/** Still coming up after a short wait. */
export function startingRefusal(how: {
  readonly server: string;
  readonly phase: LinkPhase;
  readonly sinceMs: number;
  readonly waitedMs: number;
  readonly isLocal: boolean;
}): Refusal {
  const { server, phase } = how;
  const waitedMs = Math.round(how.waitedMs);
  const setting = phaseSetting(phase, how.isLocal);
  return new Refusal(
    'server-starting',
    `${server} has been starting for ${Math.round(how.sinceMs / 1000)} s and is in phase ${phase} (setting ${setting}); the call waited ${waitedMs} ms for it.`,
    {
      server,
      phase,
      waitedMs,
      sinceMs: Math.round(how.sinceMs),
      setting,
      outcome: 'not-executed',
      retryAfterMs: LOOK_AGAIN_MS,
    },
  );
}

/** Lost, resting before the next try, or stopped. */
export function downRefusal(server: string, view: LinkView): Refusal {
  const { fault, retryMs } = view;
  const next = retryMs === undefined ? '' : ` It is tried again in ${Math.ceil(retryMs / 1000)} s.`;
  return new Refusal('server-down', `${server} is not reachable: ${fault?.message ?? view.state}.${next}`, {
    ...fault?.detail,
    server,
    phase: String(fault?.detail.phase ?? view.phase ?? 'connect'),
    outcome: 'not-executed',
    ...(fault ? { cause: fault.code } : {}),
    ...(retryMs === undefined ? {} : { retryAfterMs: Math.round(retryMs) }),
  });
}

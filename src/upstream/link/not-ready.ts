/**
 * The refusal of a call to a server that is not ready: its state, since when, and when it is retried.
 */
import type { Limits } from '../../config/limits.ts';
import type { LinkPhase } from '../../model/events.ts';
import { type Outcome, Refusal } from '../../model/outcome.ts';
import { sentence } from '../../model/sentence.ts';
import type { ServerSpec } from '../../model/snapshot.ts';
import type { Deadline } from '../../runtime/deadline.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import { isLocal, phaseSetting } from '../call-endings.ts';
import type { LinkStateTracker, LinkView } from './link-state.ts';
import type { LinkKind } from './reconnect-backoff.ts';

/** When a client may retry, ms. */
const LOOK_AGAIN_MS = 2000;
/** Calls wait for the attempts to reach another worker, which may be starting, that begin within this time, ms. */
const FORWARD_PATIENCE_MS = 5000;

/**
 * Waits for a link that is connecting, for `patienceMs` (default `handshakeMs`). Returns undefined when it is ready.
 * When another worker cannot be reached, waits for the next attempts too.
 */
export async function untilReady(
  link: {
    readonly runtime: Runtime;
    readonly limits: Limits;
    readonly state: LinkStateTracker;
    readonly spec: ServerSpec;
    readonly kind: LinkKind;
    readonly patienceMs?: number | undefined;
  },
  deadline: Deadline,
  owner: string,
): Promise<Outcome<undefined>> {
  const { runtime, limits, state, spec, kind } = link;
  const startMs = runtime.clock.nowMs();
  using own = deadline.sooner(link.patienceMs ?? limits.handshakeMs);
  const isRetried = () =>
    kind === 'forward' && state.state === 'waiting' && runtime.clock.nowMs() - startMs < FORWARD_PATIENCE_MS;
  try {
    do await runtime.waits.for(state.settled, { label: 'link-ready', owner, deadline: own });
    while (isRetried());
  } catch {
    if (state.state === 'waiting') return downRefusal(spec.slug, state.view);
    const { phase = 'connect', sinceMs } = state.view;
    const waitedMs = runtime.clock.nowMs() - startMs;
    return startingRefusal({ server: spec.slug, phase, sinceMs, waitedMs, isLocal: isLocal(spec) });
  }
  return state.state === 'ready' ? undefined : downRefusal(spec.slug, state.view);
}

/** The refusal when it is still connecting after a short wait. */
function startingRefusal(how: {
  readonly server: string;
  readonly phase: LinkPhase;
  readonly sinceMs: number;
  readonly waitedMs: number;
  readonly isLocal: boolean;
}): Refusal {
  const { server, phase } = how;
  const waitedMs = Math.round(how.waitedMs);
  const setting = phaseSetting(phase, how.isLocal);
  const state =
    phase === 'queue'
      ? `${server} waits for its turn to start: other servers are loading (setting ${setting})`
      : `${server} has been starting for ${Math.round(how.sinceMs / 1000)} s and is in phase ${phase} (setting ${setting})`;
  return new Refusal('server-starting', `${state}; the call waited ${waitedMs} ms for it.`, {
    server,
    phase,
    waitedMs,
    sinceMs: Math.round(how.sinceMs),
    setting,
    outcome: 'not-executed',
    retryAfterMs: LOOK_AGAIN_MS,
  });
}

/** The refusal when it is lost, waiting before a retry, or stopped. */
export function downRefusal(server: string, view: LinkView): Refusal {
  const { fault, retryMs } = view;
  const next = retryMs === undefined ? '' : ` The next attempt is in ${Math.ceil(retryMs / 1000)} s.`;
  return new Refusal('server-down', `${server} is not reachable: ${sentence(fault?.message ?? view.state)}${next}`, {
    ...fault?.detail,
    server,
    phase: fault?.detail.phase || view.phase || 'connect',
    outcome: 'not-executed',
    ...(fault ? { cause: fault.code } : {}),
    ...(retryMs === undefined ? {} : { retryAfterMs: Math.round(retryMs) }),
  });
}

/**
 * Fetches the rest of an answer whose stream the server (polling) or a proxy closed early, by GET with Last-Event-ID.
 * Guarantees: not before the server's `retry` (default 1 s, at most 30 s); the call is never sent again; at most
 * `RESUMES` in a row without an event between them.
 * Source: specification 2025-11-25, transports, resumability and SSE polling.
 */
import type { Timers } from '../../../runtime/clock.ts';

/** Position of a stream when it ended. */
export interface StreamPlace {
  readonly lastEventId: string;
  readonly retryMs: number | undefined;
  /** Streams in a row that ended without an event, including this one. */
  readonly tries: number;
}

/** Returns the position of a stream that continued from `before`; undefined when it has given no event id. */
export function placeAfter(
  { lastEventId: seen, retryMs }: Pick<StreamPlace, 'retryMs'> & { readonly lastEventId: string | undefined },
  before: StreamPlace | undefined,
): StreamPlace | undefined {
  const lastEventId = seen ?? before?.lastEventId;
  if (lastEventId === undefined) return undefined;
  return { lastEventId, retryMs: retryMs ?? before?.retryMs, tries: seen === undefined ? (before?.tries ?? 0) + 1 : 1 };
}

export const RESUMES = 20;
const REST_MS = 1000;
const LEAST_MS = 50;
const MOST_MS = 30_000;

/** Waits for its dispatch; an abort sets it to false. */
interface Resting {
  resting: boolean;
}

/** Dispatches the exchange when it is time, unless it was aborted meanwhile. */
export function dispatchLater(
  timers: Timers,
  exchange: Resting,
  retryMs: number | undefined,
  dispatch: () => void,
): void {
  exchange.resting = true;
  timers.after(Math.min(Math.max(retryMs ?? REST_MS, LEAST_MS), MOST_MS), () => {
    if (!exchange.resting) return;
    exchange.resting = false;
    dispatch();
  });
}

/**
 * An answer whose stream has ended before it was complete: the server closes it on purpose (polling) or a proxy cuts it, and the rest is fetched
 * by GET with Last-Event-ID.
 * Promises: never before the server's `retry` (1 s where it names none, 30 s at most); a call is not sent again, whatever the answer to the GET
 * is; at most `RESUMES` in a row without an event between them.
 * Does not: decide how long a call may take (the link's silence watch and deadlines do, and abort).
 * Source: specification 2025-11-25, transports, resumability and SSE polling.
 */
import type { Timers } from '../../../runtime/clock.ts';

/** Where a stream was when it ended. */
export interface StreamPlace {
  readonly lastEventId: string;
  readonly retryMs: number | undefined;
  /** Streams in a row that ended without an event, this one included. */
  readonly tries: number;
}

/** Returns where a stream has ended that went on from `before`; undefined = it has named no place. */
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

/** What rests until it is dispatched again; an abort ends the rest by setting it to false. */
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

/**
 * A server that allows one session refuses initialize while it has one: another worker holds it, or a killed one left
 * it.
 * Guarantees: a worker never ends the session of a running worker (`session-memory.ts`); sessions left behind are ended
 * once, and only when the server has refused initialize.
 */

import { HubError } from '../../model/errors.ts';
import { sentence } from '../../model/sentence.ts';
import type { ServerSpec } from '../../model/snapshot.ts';
import type { InitializeResult } from '../../protocol/era-2025/initialize.ts';
import type { Deadline } from '../../runtime/deadline.ts';
import type { Connection } from '../connection/connection.ts';
import { type ContinueParts, continueSession } from '../single-session/continued-session.ts';
import type { Holder } from '../single-session/session-holders.ts';
import type { Transport, TransportEvents } from '../transport/transport.ts';
import type { LinkParts } from './link-parts.ts';

/** Another worker holds the session. */
export class HeldElsewhere extends HubError {
  /** Private socket of that worker. */
  readonly peer: string;

  constructor(server: string, peer: string) {
    super('server-starting', {
      message: `${server} allows one session, which another worker of the hub holds.`,
      detail: { server, phase: 'handshake' },
    });
    this.peer = peer;
  }
}

/** The worker that a connection goes through no longer holds the session. Running calls may still be answered there. */
export class HolderGone extends HubError {
  constructor(server: string) {
    const message = `The worker that held the session of ${server} does not hold it any more.`;
    super('server-down', { message, detail: { server } });
  }
}

/** Finds other workers that hold the session of a server that allows one. */
export interface SessionSharing {
  /** Never rejects. */
  readonly find: (deadline: Deadline) => Promise<Holder>;
  /**
   * Tells whether the worker behind a socket still holds a session; undefined when it does not answer. Never rejects.
   */
  readonly isHeldAt: (peer: string, deadline: Deadline) => Promise<boolean | undefined>;
  /** Returns a transport to the server through that worker. */
  readonly through: (peer: string) => (spec: ServerSpec, events: TransportEvents) => Transport;
}

/**
 * HTTP statuses with which servers refuse a second initialize. Others mean that it is unreachable or requires
 * credentials.
 */
const REFUSALS: ReadonlySet<unknown> = new Set([400, 409, 422, 423]);
/** Affects only the text for the operator. */
const ONE_SESSION: readonly RegExp[] = [
  /\balready (?:been )?initiali[sz]ed\b/i,
  /\b(?:session|client|connection)s? (?:is |are )?already\b/i,
  /\balready (?:has|have) .{0,40}(?:session|client)/i,
  /\b(?:one|single) (?:active )?(?:session|client)\b/i,
  /\bin use\b/i,
];
/** A worker that is being replaced ends its sessions; the next holder is found within this time, ms. */
const HOLDER_EVERY_MS = 250;
const HOLDER_MS = 1000;
const OWN_EVERY_MS = 5 * 60_000;
const MISSES = 3;

/** Tells whether a refusal of initialize may mean that the server already has a session. */
export function mayHaveSession({ code, detail }: HubError): boolean {
  if (code === 'upstream-protocol' || code === 'upstream-invalid') return true;
  return code === 'upstream-http' && REFUSALS.has(detail.status);
}

/**
 * Ends sessions that earlier workers left. If the server does not end them, continues one and returns the result of its
 * initialize. Returns false when there is none that helps. Throws `HeldElsewhere` when a running worker holds one.
 */
export async function makeRoom(
  parts: ContinueParts & { readonly sharing: SessionSharing | undefined },
  deadline: Deadline,
): Promise<boolean | InitializeResult> {
  const { server, sharing } = parts;
  const { session } = parts.transport;
  if (!session) return false;
  // Read this first: a session that a worker opens from now on is in its answers and not in this list.
  const left = await session.left(deadline);
  const holder = (await sharing?.find(deadline)) ?? 'none';
  if (typeof holder === 'object') throw new HeldElsewhere(server, holder.peer);
  if (holder !== 'none' || left.length === 0) return false;
  if (await session.end(left, deadline)) return true;
  return (await continueSession(parts, left, deadline)) ?? false;
}

/** Returns the fault of a refused initialize with its possible cause. */
export function withLostSession(fault: unknown): unknown {
  if (!(fault instanceof HubError) || fault instanceof HeldElsewhere) return fault;
  if (fault.detail.status !== 409 && !ONE_SESSION.some((form) => form.test(fault.message))) return fault;
  const why =
    'The server may hold a session of an earlier start, whose id never reached the hub, or of another client: ' +
    'it is usable when that session ends, by itself or with a restart of the server. The hub keeps trying.';
  return new HubError(fault.code, { message: `${sentence(fault.message)} ${why}`, detail: fault.detail, cause: fault });
}

/**
 * Checks four times a second whether the worker that a connection goes through still holds the session. Calls `gone`
 * once when it does not; after `MISSES` checks without an answer in a row, also closes the connection. Calls `tryOwn`
 * every five minutes, because the refusal may have had another reason. Returns undefined for a direct connection.
 */
export function watchHolder(
  { runtime, sharing, spec }: Pick<LinkParts, 'runtime' | 'sharing' | 'spec'>,
  connection: Pick<Connection, 'peer' | 'lose'>,
  { gone, tryOwn }: { readonly gone: (fault: HolderGone) => void; readonly tryOwn: () => void },
): Disposable | undefined {
  const { peer } = connection;
  if (peer === undefined || !sharing) return undefined;
  let isAsking = false;
  let misses = 0;
  let isGone = false;
  const look = async (): Promise<void> => {
    using deadline = runtime.deadline(HOLDER_MS);
    const isHeld = await sharing.isHeldAt(peer, deadline);
    isAsking = false;
    misses = isHeld === undefined ? misses + 1 : 0;
    if (isGone || (isHeld !== false && misses < MISSES)) return;
    isGone = true;
    const fault = new HolderGone(spec.slug);
    if (isHeld === undefined) connection.lose(fault);
    gone(fault);
  };
  const looks = runtime.timers.every(HOLDER_EVERY_MS, () => {
    if (isAsking) return;
    isAsking = true;
    void look();
  });
  const tries = runtime.timers.every(OWN_EVERY_MS, tryOwn);
  return {
    [Symbol.dispose]() {
      looks[Symbol.dispose]();
      tries[Symbol.dispose]();
    },
  };
}

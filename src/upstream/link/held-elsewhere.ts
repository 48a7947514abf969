/**
 * A server that refuses to be initialized because it has a session already, which it allows once: another worker of this hub holds it, or one that was killed has
 * left it.
 * Guarantees: a session that a running worker has opened is never ended by another one (`session-memory.ts`); what is left is ended once, and only when the
 * server has refused.
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
  /** Its private socket. */
  readonly peer: string;

  constructor(server: string, peer: string) {
    super('server-starting', {
      message: `${server} allows one session, which another worker of the hub holds.`,
      detail: { server, phase: 'handshake' },
    });
    this.peer = peer;
  }
}

/** The worker that a connection goes through does not hold the session any more. Calls inside may still be answered there. */
export class HolderGone extends HubError {
  constructor(server: string) {
    const message = `The worker that held the session of ${server} does not hold it any more.`;
    super('server-down', { message, detail: { server } });
  }
}

/** How a connection finds the other workers of a server that allows one session. */
export interface SessionSharing {
  /** Never rejects. */
  readonly find: (deadline: Deadline) => Promise<Holder>;
  /** Whether the worker behind a socket still holds one; undefined = it does not answer. Never rejects. */
  readonly isHeldAt: (peer: string, deadline: Deadline) => Promise<boolean | undefined>;
  /** The way to the server through that worker. */
  readonly through: (peer: string) => (spec: ServerSpec, events: TransportEvents) => Transport;
}

/** HTTP statuses by which servers refuse a second initialize; what says that the server is not there, or wants credentials, is another matter. */
const REFUSALS: ReadonlySet<unknown> = new Set([400, 409, 422, 423]);
/** Chooses words for the operator and nothing else. */
const ONE_SESSION =
  /\balready (?:been )?initiali[sz]ed\b|\b(?:session|client|connection)s? (?:is |are )?already\b|\balready (?:has|have) .{0,40}(?:session|client)|\b(?:one|single) (?:active )?(?:session|client)\b|\bin use\b/i;
/** A worker that is replaced ends its sessions: the next holder is found within this. */
const HOLDER_EVERY_MS = 250;
const HOLDER_MS = 1000;
const OWN_EVERY_MS = 5 * 60_000;
const MISSES = 3;

/** Whether a refusal of initialize may mean that the server has a session already. */
export function mayHaveSession({ code, detail }: HubError): boolean {
  if (code === 'upstream-protocol' || code === 'upstream-invalid') return true;
  return code === 'upstream-http' && REFUSALS.has(detail.status);
}

/**
 * Makes room for a session: ends those that earlier workers have left. Where the server does not end them, goes on in one of them, and returns what the server
 * answered to initialize then. False = there are none of use. Throws `HeldElsewhere` where a running worker holds one.
 */
export async function makeRoom(
  parts: ContinueParts & { readonly sharing: SessionSharing | undefined },
  deadline: Deadline,
): Promise<boolean | InitializeResult> {
  const { server, sharing } = parts;
  const { session } = parts.transport;
  if (!session) return false;
  // Read first: one that a worker opens from now on is among its answers and not among these.
  const left = await session.left(deadline);
  const holder = (await sharing?.find(deadline)) ?? 'none';
  if (typeof holder === 'object') throw new HeldElsewhere(server, holder.peer);
  if (holder !== 'none' || left.length === 0) return false;
  if (await session.end(left, deadline)) return true;
  return (await continueSession(parts, left, deadline)) ?? false;
}

/** Returns the fault of a refused initialize with what it may come from. */
export function withLostSession(fault: unknown): unknown {
  if (!(fault instanceof HubError) || fault instanceof HeldElsewhere) return fault;
  if (fault.detail.status !== 409 && !ONE_SESSION.test(fault.message)) return fault;
  const why =
    'The server may hold a session of an earlier start, whose id never reached the hub, or of another client: it is usable when that session ends, by itself or with a restart of the server. The hub keeps trying.';
  return new HubError(fault.code, { message: `${sentence(fault.message)} ${why}`, detail: fault.detail, cause: fault });
}

/**
 * Looks four times a second whether the worker that a connection goes through still holds the session. Where it does not, `gone` is called, once; where it has not
 * answered `MISSES` times in a row, the connection is lost too. Every five minutes `tryOwn` is called: the refusal may have had another reason. Undefined = the connection goes to
 * the server.
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

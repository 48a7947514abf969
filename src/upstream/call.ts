/**
 * What `call/` asks of `upstream/`, and what it gets back.
 */

import type { BackChannel } from '../protocol/back-channel.ts';
import type { Deadline } from '../runtime/deadline.ts';
import type { ConnectionOwner } from './client-context.ts';

/** Says between workers, on their private sockets, which key a call is made for; percent-encoded. */
export const SHARE_HEADER = 'x-mcphub-share';

export interface ResolvedTimes {
  /** Longest silence of a server in a call, ms. */
  readonly silenceMs: number;
  /** Total of a call, ms. */
  readonly totalMs: number;
  /** Strict cut, ms; undefined = off. */
  readonly callTimeoutMs: number | undefined;
}

export interface UpstreamCall {
  readonly method: string;
  /** Native name of the tool that is called; undefined = something else is asked for. */
  readonly tool?: string | undefined;
  /** Complete JSON text of params. `token` is the hub's progress token on this connection: put it in place of the client's (only if `back.progressToken` is set). */
  params(token: number): Buffer;
  readonly times: ResolvedTimes;
  /** Ends when the client goes away, the hub drains, or the total is over. */
  readonly deadline: Deadline;
  readonly back: BackChannel;
  /** The session behind it; undefined = there is none. Asked for only when the server has lanes. */
  readonly sessionConnection?: (() => ConnectionOwner) | undefined;
  /** Key family: the unit of fairness in the queue. */
  readonly fairKey: string;
  /** Request id, for the table of waits. */
  readonly owner: string;
}

/** The server's own answer, as bytes. An `error` is the server's JSON-RPC error object, passed on untouched. */
export interface UpstreamReply {
  readonly kind: 'result' | 'error';
  /** Complete JSON text of the result or error value. */
  readonly json: Buffer;
}

/**
 * The request that `call/` passes to `upstream/`, and its reply.
 */

import type { BackChannel } from '../protocol/back-channel.ts';
import type { CallBudget } from '../runtime/call-budget.ts';
import type { ConnectionOwner } from './client-context.ts';

/** Tells another worker, on its private socket, for which key a call is made; percent-encoded. */
export const SHARE_HEADER = 'x-mcphub-share';
/** Tells another worker, on its private socket, the id (slot) of the worker that forwards a call. */
export const WORKER_HEADER = 'x-mcphub-worker';

export interface UpstreamCall {
  readonly method: string;
  /** Native name of the tool that is called; undefined for other methods. */
  readonly tool?: string | undefined;
  /**
   * Returns the complete JSON text of params. `token` is the hub's progress token on this connection; it replaces the
   * client's (only if `back.progressToken` is set).
   */
  params(token: number): Buffer;
  /** Its deadline also ends when the client disconnects, or the key loses its access. */
  readonly budget: CallBudget;
  readonly back: BackChannel;
  /**
   * Returns the session that makes the call; undefined when there is none. Called only for servers with session
   * connections.
   */
  readonly sessionConnection?: (() => ConnectionOwner) | undefined;
  /** Key family; keys take turns in the queue. */
  readonly fairKey: string;
  /** Request id, for the table of waits. */
  readonly owner: string;
}

/** The server's own answer as bytes. An `error` is the server's JSON-RPC error object, passed on unchanged. */
export interface UpstreamReply {
  readonly kind: 'result' | 'error';
  /** Complete JSON text of the result or error value. */
  readonly json: Buffer;
}

/**
 * One client request on its way through the pipeline, and its reply.
 * Guarantees: everything that a step of the pipeline needs is here, read once; the caller's id never leaves
 * `downstream/`.
 */

import type { PathTarget, ViewName, Visitor } from '../auth/access.ts';
import type { View } from '../catalog/view.ts';
import type { Principal } from '../model/principal.ts';
import type { Snapshot } from '../model/snapshot.ts';
import type { BackChannel } from '../protocol/back-channel.ts';
import type { RequestMeta } from '../protocol/era-2026/request-meta.ts';
import type { Envelope } from '../protocol/message.ts';
import type { OpenItem } from '../runtime/open-item.ts';
import type { Session } from '../session/sessions.ts';
import type { ConnectionOwner } from '../upstream/client-context.ts';

/** Sender, address and path of an exchange; created once by `downstream/`. */
export interface RequestContext {
  /** A caller on the worker's private socket: the operator of this machine. */
  readonly local: boolean;
  readonly authorization: string | undefined;
  readonly address: string;
  readonly visitor: Visitor;
  readonly target: PathTarget;
  readonly sessionId: string | undefined;
}

/** The principal, and what it may see. */
export interface Caller {
  readonly principal: Principal;
  /** The share of containers that this counts for (`model/principal.ts`). */
  readonly owner: string;
  readonly viewName: ViewName;
  readonly snapshot: Snapshot;
}

/** One message of an exchange. */
export interface Incoming {
  readonly envelope: Envelope;
  readonly context: RequestContext;
  /** The caller that the headers of this request identify; absent when they were not checked yet. */
  readonly caller?: Caller | undefined;
  readonly back: BackChannel;
  /** The request metadata of a stateless message; undefined in the 2025 era. */
  readonly requestMeta?: RequestMeta | undefined;
  /** Returns a header of the request, by its name in lower case. */
  header?(name: string): string | undefined;
  /** Called when the caller is identified, before anything is done for it. */
  onCaller?(caller: Caller): void;
  /** Called when the session of this message is found, before it is used. */
  onSession?(session: Session): void;
  /** Tells whether the client has disconnected already; absent when it cannot have. */
  isGone?(): boolean;
  /** Calls `listener` once if the client disconnects before the answer. */
  onGone(listener: () => void): void;
  /** A client that disconnects cannot return for the answer, with or without a session (2024-11-05); default false. */
  readonly isLostWhenGone?: boolean;
}

export interface Call {
  /** When it arrived, monotonic ms. */
  readonly startMs: number;
  /** Its place in the limits of its key and of the worker; `running-calls.ts` gives it back. */
  readonly permit: Disposable;
  readonly requestId: string;
  /** Ends the call when its client cancels it or disconnects, and when its key is revoked, expires or is narrowed. */
  readonly open: OpenItem;
  readonly envelope: Envelope;
  readonly principal: Principal;
  /** The share of containers that this counts for. */
  readonly owner: string;
  readonly session: Session | undefined;
  readonly viewName: ViewName;
  readonly view: View;
  /** The snapshot at the time of the call. */
  readonly snapshot: Snapshot;
  readonly incoming: Incoming;
  /** Returns whose user a server may ask when there is no session; undefined when it may ask none. */
  readonly connectionOwner?: (server: string) => ConnectionOwner;
}

export type Reply =
  /** A result, as JSON text; the client gets `session` in a header of the answer to initialize. */
  | {
      readonly kind: 'result';
      readonly json: Buffer;
      readonly around?: Around;
      readonly session?: Session;
      readonly note?: ReplyNote;
    }
  /** A server's own JSON-RPC error, unchanged. */
  | { readonly kind: 'error'; readonly json: Buffer; readonly note?: ReplyNote }
  /** A notification or a reply was accepted: 202 without a body. */
  | { readonly kind: 'accepted' };

/** Text of a result before and after `json`, which many answers share without copies. */
export interface Around {
  readonly head: Buffer;
  readonly tail: Buffer;
}

/** For the access record: the server, and the tool, which may have returned `isError`; undefined for other methods. */
export interface ReplyNote {
  readonly server: string;
  readonly tool: string | undefined;
}

/**
 * One client request on its way, and what answers it.
 * Promises: everything a step of the line needs is here, read once; the caller's id never leaves `downstream/`.
 */

import type { PathTarget, ViewName, Visitor } from '../auth/access.ts';
import type { View } from '../catalog/view.ts';
import type { Principal } from '../model/principal.ts';
import type { Snapshot } from '../model/snapshot.ts';
import type { BackChannel } from '../protocol/back-channel.ts';
import type { RequestMeta } from '../protocol/era-2026/request-meta.ts';
import type { Envelope } from '../protocol/message.ts';
import type { OpenItem } from '../runtime/open-work.ts';
import type { Session } from '../session/sessions.ts';
import type { ConnectionOwner } from '../upstream/client-context.ts';

/** Who comes, from where, to what path: made once per exchange by `downstream/`. */
export interface RequestContext {
  /** A caller on the hub's private socket: the operator of this machine. */
  readonly local: boolean;
  readonly authorization: string | undefined;
  readonly address: string;
  readonly visitor: Visitor;
  readonly target: PathTarget;
  readonly sessionId: string | undefined;
}

/** Who this is, and what they may see. */
export interface Caller {
  readonly principal: Principal;
  /** Whose share of containers this is counted for (`model/principal.ts`). */
  readonly owner: string;
  readonly viewName: ViewName;
  readonly world: Snapshot;
}

/** One message of an exchange. */
export interface Incoming {
  readonly envelope: Envelope;
  readonly context: RequestContext;
  /** Who the headers of this request have been identified as; absent = nobody has looked. */
  readonly caller?: Caller | undefined;
  readonly back: BackChannel;
  /** What a message of the stateless era says about its client; undefined = one of the 2025 dates. */
  readonly requestMeta?: RequestMeta | undefined;
  /** A header of the request, by its name in small letters. */
  header?(name: string): string | undefined;
  /** It is known who calls, before anything is done for them. */
  onCaller?(caller: Caller): void;
  /** The session of this message has been found, before anything is done with it. */
  onSession?(session: Session): void;
  /** Calls `listener` once if the client's connection goes away before the answer. */
  onGone(listener: () => void): void;
  /** A client that has gone away cannot come back for the answer, session or not (2024-11-05); default false. */
  readonly isLostWhenGone?: boolean;
}

export interface Call {
  readonly requestId: string;
  /** Ends the call when its client cancels it or leaves, and when its key is revoked, expires or is narrowed. */
  readonly open: OpenItem;
  readonly envelope: Envelope;
  readonly principal: Principal;
  /** Whose share of containers this is counted for. */
  readonly owner: string;
  readonly session: Session | undefined;
  readonly viewName: ViewName;
  readonly view: View;
  /** The world as it was when the call came in. */
  readonly world: Snapshot;
  readonly incoming: Incoming;
  /** Who is asked by a server that asks its users, where no session is; undefined = nobody. */
  readonly connectionOwner?: (server: string) => ConnectionOwner;
}

export type Reply =
  /** A result, as JSON text; `session` is told to the client in the header of initialize's answer. */
  | {
      readonly kind: 'result';
      readonly json: Buffer;
      readonly around?: Around;
      readonly session?: Session;
      readonly note?: ReplyNote;
    }
  /** A server's own JSON-RPC error, untouched. */
  | { readonly kind: 'error'; readonly json: Buffer; readonly note?: ReplyNote }
  /** A notification or a reply was taken: 202 without a body. */
  | { readonly kind: 'accepted' };

/** What stands in a result before and after `json`, which is shared by many answers and is not copied for each. */
export interface Around {
  readonly head: Buffer;
  readonly tail: Buffer;
}

/** For the access record: which server, and which tool, that may have said `isError`; undefined = no tool was called. */
export interface ReplyNote {
  readonly server: string;
  readonly tool: string | undefined;
}

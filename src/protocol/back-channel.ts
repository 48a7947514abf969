/**
 * How a server's progress, logs and questions reach the one client call that caused them.
 * Promises: made once per call; after the call is answered it swallows what comes late.
 * Does not: know streams or HTTP. `downstream/` implements it; `upstream/` only speaks to this interface.
 */

import type { Outcome, Refusal } from '../model/outcome.ts';
import type { Deadline } from '../runtime/deadline.ts';

/** A question of a server to the user: sampling, elicitation, roots. */
export interface Asking {
  readonly method: string;
  /** Complete JSON text; undefined = none. */
  readonly params: Buffer | undefined;
  /** What its server calls it (2026-07-28); undefined = servers of the 2025 dates give questions no names. */
  readonly key?: string | undefined;
  readonly deadline: Deadline;
  /** Who waits, for the table of waits. */
  readonly owner: string;
}

/** The client's own answer, as bytes. */
export interface Answer {
  readonly kind: 'result' | 'error';
  readonly json: Buffer;
}

export interface BackChannel {
  /** The client's progress token as raw JSON text (given back unchanged in value and type); undefined = it wants no progress. */
  readonly progressToken: string | undefined;
  /** Sends a notification that belongs to this call. `params` is complete JSON text, already with the client's own token in it. */
  notify(method: string, params: Buffer): void;
  /** Records that the message was refused before it became a call; undefined = nobody does. */
  refused?(refusal: Refusal): void;
  /** Asks the user of this call. Never rejects. Undefined = there is nobody to ask. */
  readonly ask?: ((asking: Asking) => Promise<Outcome<Answer>>) | undefined;
}

/** For calls that nobody listens to (lists, pings, the hub's own questions). */
export const SILENT_BACK_CHANNEL: BackChannel = { progressToken: undefined, notify: () => {} };

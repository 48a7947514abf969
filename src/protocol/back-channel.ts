/**
 * The interface by which a server's progress, logs and questions reach the client call that caused them. `downstream/`
 * implements it; `upstream/` uses it.
 * Guarantees: one instance per call; after the response was sent, everything that arrives is discarded.
 */

import type { Outcome, Refusal } from '../model/outcome.ts';
import type { Deadline } from '../runtime/deadline.ts';

/** A question that a server asks the user: sampling, elicitation, roots. */
export interface Asking {
  readonly method: string;
  /** Complete JSON text, or undefined when there are none. */
  readonly params: Buffer | undefined;
  /**
   * The server's name for the question (2026-07-28); undefined for servers of the 2025 dates, whose questions have no
   * names.
   */
  readonly key?: string | undefined;
  readonly deadline: Deadline;
  /** The owner shown in the table of waits. */
  readonly owner: string;
}

/** The client's answer, as raw bytes. */
export interface Answer {
  readonly kind: 'result' | 'error';
  readonly json: Buffer;
}

export interface BackChannel {
  /** The client's progress token as raw JSON text, repeated unchanged; undefined when the client wants no progress. */
  readonly progressToken: string | undefined;
  /**
   * Sends a notification that belongs to this call. `params` is complete JSON text and already contains the client's
   * own token.
   */
  notify(method: string, params: Buffer): void;
  /** Records that the message was refused before it became a call; absent when nobody records it. */
  refused?(refusal: Refusal): void;
  /** Asks the user of this call. Never rejects. Undefined when there is no user to ask. */
  readonly ask?: ((asking: Asking) => Promise<Outcome<Answer>>) | undefined;
}

/** For calls without a listening client: lists, pings, the hub's own requests. */
export const SILENT_BACK_CHANNEL: BackChannel = { progressToken: undefined, notify: () => {} };

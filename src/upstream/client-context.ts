/**
 * The client side of a connection to a server: all clients (a shared link, on which no user can be asked), or one
 * session (a session connection to a server that asks its users).
 */

import { type Outcome, Refusal } from '../model/outcome.ts';
import type { Answer, Asking } from '../protocol/back-channel.ts';
import { CAPABILITY } from '../protocol/era-2025/initialize.ts';
import type { Access } from '../runtime/open-item.ts';

export interface ClientContext {
  /**
   * Capabilities declared to the server: those of the client of a session connection (bits of its session token), or
   * those of `LISTER`; 0 for none.
   */
  readonly capabilityBits: number;
  /** A session connection whose client uses 2026-07-28. */
  readonly isStateless?: boolean | undefined;
  /** A shared link: the catalog is read from these only, and their calls belong to different users. */
  readonly lists: boolean;
  /** Returns the log level to request from the server; undefined for none. */
  logLevel(): string | undefined;
  /** Returns the URIs to subscribe to, as the server knows them. */
  subscriptions(): readonly string[];
  /** Takes a notification that belongs to no call. `params` is complete JSON text. */
  notice(method: string, params: Buffer): void;
  /** Takes a list_changed; if absent, the list is read again here. */
  listChanged?(method: string): void;
  /**
   * Puts a request to the user when none of their calls is pending. Undefined when the server may not do so on this
   * connection.
   */
  ask?(asking: Asking): Promise<Outcome<Answer>>;
}

/** The client session behind a call, which a session connection belongs to. */
export interface ConnectionOwner {
  /** The caller of its newest call: the connection ends with that key. */
  readonly access: Access;
  /** Random part of the session's id. */
  readonly id: string;
  /** The share that it counts for (`model/principal.ts`). */
  readonly share: string;
  /** Its client uses 2026-07-28, and there is no session. */
  readonly isStateless?: boolean | undefined;
  readonly capabilityBits: number;
  logLevel(): string | undefined;
  /** Returns the URIs of this server that the session is subscribed to, as the server knows them. */
  subscriptions(server: string): readonly string[];
  /** Tells whether notifications can reach the session: its GET stream is open, or may be reopened. */
  hasStream(): boolean;
  /**
   * Sends a notification of this server to the session's GET stream; returns false when there is none, or the session
   * did not subscribe.
   */
  notify(server: string, method: string, params: Buffer): boolean;
  ask(asking: Asking): Promise<Outcome<Answer>>;
}

const NO_ROOTS: Answer = { kind: 'result', json: Buffer.from('{"roots":[]}') };

/**
 * The shared link of a server that asks its users. Such a server may list a tool only for a client that declares what
 * the tool needs. So the link that reads its lists declares everything, and session connections declare what their
 * clients do. If asked all the same, it answers without roots or a user.
 */
export const LISTER: Pick<ClientContext, 'capabilityBits'> & Required<Pick<ClientContext, 'ask'>> = {
  capabilityBits: Object.values(CAPABILITY).reduce((all, bit) => all | bit, 0),
  ask: async ({ method }) => (method === 'roots/list' ? NO_ROOTS : new Refusal('client-cannot-be-asked')),
};

/** All sessions of this worker together, as the shared links use them. */
export interface Everybody {
  /** Returns the most verbose level requested by a session that sees this server; undefined for none. */
  logLevel(server: string): string | undefined;
  /** Returns the URIs of a server that any session is subscribed to. */
  subscriptions(server: string): readonly string[];
  /** Takes a notification of a server that belongs to no call. */
  notice(server: string, method: string, params: Buffer): void;
}

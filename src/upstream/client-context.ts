/**
 * Who is on the client side of a connection to a server: everybody (a shared link, on which nobody can be asked), or one session (a lane of a
 * server that asks its users).
 * Source: protocol.md §0.3 and §1.7 A.
 */

import { type Outcome, Refusal } from '../model/outcome.ts';
import type { Answer, Asking } from '../protocol/back-channel.ts';
import { CAPABILITY } from '../protocol/era-2025/initialize.ts';
import type { Access } from '../runtime/open-work.ts';

export interface ClientContext {
  /** What is declared to the server: by the client of a lane (bits of a sealed session), or see `LISTER`; 0 = nothing. */
  readonly capabilityBits: number;
  /** A lane whose client speaks 2026-07-28. */
  readonly isStateless?: boolean | undefined;
  /** A shared link: the catalog is read from these only, and calls on it are of different users. */
  readonly lists: boolean;
  /** The log level that the server is asked for once it is there; undefined = none. */
  logLevel(): string | undefined;
  /** URIs, as the server knows them, that the client side wants to hear about. */
  subscriptions(): readonly string[];
  /** What the server says outside of any call. `params` = complete JSON text. */
  notice(method: string, params: Buffer): void;
  /** The server says that a list is another now; absent = it is read again here. */
  listChanged?(method: string): void;
  /** Asks the user while no call of theirs is in flight. Undefined = the server may not ask on this connection. */
  ask?(asking: Asking): Promise<Outcome<Answer>>;
}

/** The client session behind a call: what a lane belongs to. */
export interface ConnectionOwner {
  /** The caller of its newest call: its connection ends with that key. */
  readonly access: Access;
  /** Random part of the session's id. */
  readonly id: string;
  /** Whose share it is counted for (`model/principal.ts`). */
  readonly share: string;
  /** Its client speaks 2026-07-28, and there is no session. */
  readonly isStateless?: boolean | undefined;
  readonly capabilityBits: number;
  logLevel(): string | undefined;
  /** URIs of this server that the session is subscribed to, as the server knows them. */
  subscriptions(server: string): readonly string[];
  /** Its standing stream is there, or may come back: it can be told something. */
  isHeard(): boolean;
  /** Sends what this server says to the session's GET stream; false = there is none, or the session did not ask for it. */
  notify(server: string, method: string, params: Buffer): boolean;
  ask(asking: Asking): Promise<Outcome<Answer>>;
}

const NO_ROOTS: Answer = { kind: 'result', json: Buffer.from('{"roots":[]}') };

/**
 * The shared link of a server that asks its users. Such a server may show a tool only to a client that declares what the tool asks for, so the
 * link that reads its lists declares everything; the lanes declare what their clients do. Asked all the same, it has no roots and no user.
 */
export const LISTER: Pick<ClientContext, 'capabilityBits'> & Required<Pick<ClientContext, 'ask'>> = {
  capabilityBits: Object.values(CAPABILITY).reduce((all, bit) => all | bit, 0),
  ask: async ({ method }) => (method === 'roots/list' ? NO_ROOTS : new Refusal('client-cannot-be-asked')),
};

/** All sessions of this hub together, as the servers' shared links see them. */
export interface Everybody {
  /** The most verbose level that any session which sees this server wants; undefined = none. */
  logLevel(server: string): string | undefined;
  /** URIs of a server that any session is subscribed to. */
  subscriptions(server: string): readonly string[];
  /** What a server says outside of any call. */
  notice(server: string, method: string, params: Buffer): void;
}

/**
 * Passes each message of a server to its receiver: replies to the pending requests, notifications and requests of the
 * server to the client side or to whoever answers them.
 */
import type { Limits } from '../../config/limits.ts';
import type { Envelope } from '../../protocol/message.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { ClientSide } from './client-side.ts';
import type { Correlator } from './correlator.ts';
import type { InvalidMessages } from './invalid-messages.ts';
import type { NotificationRate } from './notification-rate.ts';
import type { ReplyMatcher } from './reply-matcher.ts';
import { ServerNotifications } from './server-notifications.ts';
import { ServerRequests } from './server-requests.ts';

export interface MessageRouterParts {
  readonly runtime: Runtime;
  readonly limits: Pick<Limits, 'idBytes'>;
  readonly invalid: InvalidMessages;
  readonly rate: NotificationRate;
  readonly correlator: Correlator;
  readonly replies: ReplyMatcher;
  readonly clientSide: Pick<ClientSide, 'notice' | 'question' | 'takenBack'>;
  /** Called when a list of the server has changed. */
  readonly listChanged: (method: string) => void;
}

export class MessageRouter {
  readonly #correlator: Correlator;
  readonly #replies: ReplyMatcher;
  readonly #invalid: InvalidMessages;
  readonly #notifications: ServerNotifications;
  readonly #serverRequests: ServerRequests;

  constructor(parts: MessageRouterParts) {
    const { runtime, limits, invalid, correlator, clientSide } = parts;
    this.#correlator = correlator;
    this.#replies = parts.replies;
    this.#invalid = invalid;
    this.#notifications = new ServerNotifications(parts);
    this.#serverRequests = new ServerRequests({ runtime, invalid, idBytes: limits.idBytes, clientSide, correlator });
  }

  /** `exchange`: the request on whose stream it came; `nowMs`: the current time, if the caller has it. */
  take(envelope: Envelope, exchange: number | undefined, nowMs?: number): void {
    const correlator = this.#correlator;
    if (exchange !== undefined) correlator.alive(exchange, nowMs);
    if (envelope.repaired !== undefined) this.#invalid.count('repaired', envelope.repaired);
    if (envelope.kind === 'reply') this.#replies.reply(envelope);
    else {
      const handler = envelope.kind === 'notification' ? this.#notifications : this.#serverRequests;
      if (!handler.take(envelope, exchange)) correlator.countUnmatched();
    }
  }
}

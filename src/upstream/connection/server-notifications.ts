/**
 * Notifications of a server on one connection: changed lists, cancelled requests, progress for the caller with its own
 * token, and everything else for the connection. Those above the rate are dropped (`notification-rate.ts`).
 */
import type { Limits } from '../../config/limits.ts';
import type { Envelope, Span } from '../../protocol/message.ts';
import { soleMember } from '../../protocol/sole-member.ts';
import { replaceSpans } from '../../protocol/write.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { CorrelatorHandlers } from './correlator-handlers.ts';
import type { InvalidMessages } from './invalid-messages.ts';
import { NotificationRate } from './notification-rate.ts';
import type { PendingRequest } from './pending-request.ts';

export interface ServerNotificationsParts {
  readonly runtime: Runtime;
  readonly limits: Pick<Limits, 'serverNotificationsPerSecond' | 'noticeBytes'>;
  readonly server: string;
  readonly invalid: InvalidMessages;
  readonly handlers: Pick<CorrelatorHandlers, 'takenBack' | 'listChanged' | 'notice'>;
  /** Returns the pending request with this progress token. */
  readonly ownerOf: (bytes: Buffer, token: Span) => PendingRequest | undefined;
}

const LISTS_CHANGED: ReadonlySet<string> = new Set(
  ['tools', 'prompts', 'resources'].map((kind) => `notifications/${kind}/list_changed`),
);

export class ServerNotifications {
  readonly #parts: ServerNotificationsParts;
  readonly #rate: NotificationRate;

  constructor(parts: ServerNotificationsParts) {
    this.#parts = parts;
    this.#rate = new NotificationRate(parts.runtime, parts.limits, parts.server);
  }

  /** Counts a call that was sent to the server. */
  earn(): void {
    this.#rate.earn();
  }

  /** Returns false when the notification was dropped, or belongs to no pending request. */
  take(envelope: Envelope, exchange: number | undefined): boolean {
    const { handlers } = this.#parts;
    if (envelope.method === 'notifications/cancelled') handlers.takenBack(envelope);
    else if (LISTS_CHANGED.has(envelope.method)) handlers.listChanged(envelope.method);
    else if (!this.#rate.allows(envelope.bytes.length)) return false;
    else if (envelope.method === 'notifications/progress') return this.#progress(envelope);
    else if (envelope.fault !== undefined) return this.#refuse(envelope.fault);
    else handlers.notice(envelope, exchange);
    return true;
  }

  #progress({ bytes, params, fault }: Envelope): boolean {
    const token = params.at < 0 ? params : soleMember(bytes, params, 'progressToken');
    const pending = token.at < 0 ? undefined : this.#parts.ownerOf(bytes, token);
    if (!pending) return token.at < 0;
    pending.touch();
    const client = pending.plan.back.progressToken;
    if (fault !== undefined) return this.#refuse(fault);
    if (client === undefined) return true;
    const text = bytes.subarray(params.at, params.end);
    const at = token.at - params.at;
    pending.plan.back.notify(
      'notifications/progress',
      replaceSpans(text, [{ at, end: token.end - params.at, with: Buffer.from(client) }]),
    );
    return true;
  }

  /** Reports a message that no client could read. */
  #refuse(fault: string): false {
    this.#parts.invalid.count('refused', fault);
    return false;
  }
}

/**
 * Notifications of a server on one connection: changed lists, cancelled requests, progress for the caller with its own
 * token, and everything else for the connection. Those above the rate are dropped (`notification-rate.ts`).
 */
import type { Envelope } from '../../protocol/message.ts';
import { soleMember } from '../../protocol/sole-member.ts';
import { replaceSpans } from '../../protocol/write.ts';
import type { ClientSide } from './client-side.ts';
import type { Correlator } from './correlator.ts';
import type { InvalidMessages } from './invalid-messages.ts';
import type { NotificationRate } from './notification-rate.ts';

export interface ServerNotificationsParts {
  readonly invalid: InvalidMessages;
  readonly rate: NotificationRate;
  readonly correlator: Pick<Correlator, 'ownerOf' | 'progressed'>;
  readonly clientSide: Pick<ClientSide, 'takenBack' | 'notice'>;
  readonly listChanged: (method: string) => void;
}

const LISTS_CHANGED: ReadonlySet<string> = new Set(
  ['tools', 'prompts', 'resources'].map((kind) => `notifications/${kind}/list_changed`),
);

export class ServerNotifications {
  readonly #parts: ServerNotificationsParts;

  constructor(parts: ServerNotificationsParts) {
    this.#parts = parts;
  }

  /** Returns false when the notification was dropped, or belongs to no pending request. */
  take(envelope: Envelope, exchange: number | undefined): boolean {
    const { rate, clientSide, listChanged } = this.#parts;
    if (envelope.method === 'notifications/cancelled') clientSide.takenBack(envelope);
    else if (LISTS_CHANGED.has(envelope.method)) listChanged(envelope.method);
    else if (!rate.allows(envelope.bytes.length)) return false;
    else if (envelope.method === 'notifications/progress') return this.#progress(envelope);
    else if (envelope.fault !== undefined) return this.#refuse(envelope.fault);
    else clientSide.notice(envelope, exchange);
    return true;
  }

  #progress({ bytes, params, fault }: Envelope): boolean {
    const token = params.at < 0 ? params : soleMember(bytes, params, 'progressToken');
    const pending = token.at < 0 ? undefined : this.#parts.correlator.ownerOf(bytes, token);
    if (!pending) return token.at < 0;
    this.#parts.correlator.progressed(pending.id);
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

/**
 * The events of a transport, on their way up to the parts of its connection. It is the one link against the order of
 * construction: a transport is created with its events, and the parts that receive them send through the transport.
 * Guarantees: events before `deliverTo` are dropped; a transport reports none before it is started.
 */
import type { HubError } from '../../model/errors.ts';
import type { LinkPhase } from '../../model/events.ts';
import type { Envelope } from '../../protocol/message.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { TransportEvents } from '../transport/transport.ts';
import type { ClientSide } from './client-side.ts';
import type { ConnectionLoss } from './connection-loss.ts';
import type { ConnectionNotes } from './connection-notes.ts';
import type { ConnectionPhase } from './connection-phase.ts';
import type { Correlator } from './correlator.ts';
import type { Liveness } from './liveness.ts';
import type { MessageRouter } from './message-router.ts';
import type { ReplyMatcher } from './reply-matcher.ts';
import type { SessionRenewal } from './session-renewal.ts';

export interface ConnectionEventsParts {
  readonly bus: Runtime['bus'];
  readonly server: string;
  readonly notes: ConnectionNotes;
  readonly phase: ConnectionPhase;
}

/** What receives events; see `connection.ts`. */
export interface EventReceivers {
  readonly correlator: Pick<Correlator, 'failed' | 'alive'>;
  readonly replies: Pick<ReplyMatcher, 'unreadable' | 'unmatched'>;
  readonly liveness: Pick<Liveness, 'seen' | 'question'>;
  readonly loss: Pick<ConnectionLoss, 'lose'>;
  readonly clientSide: Pick<ClientSide, 'preferencesChanged'>;
  readonly renewal: Pick<SessionRenewal, 'replied' | 'doubted'>;
  readonly router: Pick<MessageRouter, 'take'>;
}

/** The members are fields, because transports copy and replace single events. */
export class ConnectionEvents implements TransportEvents {
  readonly #parts: ConnectionEventsParts;
  #to: EventReceivers | undefined;

  constructor(parts: ConnectionEventsParts) {
    this.#parts = parts;
  }

  deliverTo(receivers: EventReceivers): void {
    this.#to = receivers;
  }

  readonly message = (envelope: Envelope, exchange: number | undefined): void => {
    const to = this.#to;
    if (!to) return;
    const nowMs = to.liveness.seen();
    if (envelope.kind === 'reply') to.renewal.replied(exchange);
    to.router.take(envelope, exchange, nowMs);
  };
  readonly failed = (id: number, fault: HubError): void => this.#to?.correlator.failed(id, fault);
  readonly unreadable = (fault: HubError): void => this.#to?.replies.unreadable(fault);
  readonly unmatched = (id?: number): void => this.#to?.replies.unmatched(id);
  readonly alive = (id: number | undefined): void => this.#to?.correlator.alive(id, this.#to.liveness.seen());
  readonly phase = (phase: LinkPhase): Promise<void> | undefined => this.#parts.phase.enter(phase);
  readonly sessionLost = (id: number | undefined, fault: HubError): void => this.#to?.renewal.doubted(id, fault);
  readonly closed = (fault: HubError): void => this.#to?.loss.lose(fault);
  readonly learned = (note: string): void => this.#parts.notes.add(note);
  readonly question = (): void => this.#to?.liveness.question();
  readonly said = (line: string): void => {
    const { bus, server } = this.#parts;
    bus.publish({ type: 'server-said', server, line });
  };
  /** Subscriptions or preferences of clients may have changed. */
  readonly preferencesChanged = (): void => this.#to?.clientSide.preferencesChanged();
}

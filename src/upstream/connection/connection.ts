/**
 * One connection of a link, from opening to loss: transport, handshake, pending requests. `connection-loop.ts`
 * reconnects.
 * Guarantees: `open` ends within its timeouts; the first `lose` ends all pending requests at once; after `close` no
 * request, socket or process of it remains.
 *
 * Built from the bottom, each part from those before it: the table of requests, the transport, the correlator and its
 * replies, the end (`connection-loss.ts`), silence (`liveness.ts`), the client side, handshake and lists, the renewal
 * of its session, the router of messages. Only events of the transport go up (`connection-events.ts`).
 */

import { HubError } from '../../model/errors.ts';
import { type Outcome, Refusal } from '../../model/outcome.ts';
import type { InitializeResult } from '../../protocol/era-2025/initialize.ts';
import type { Deadline } from '../../runtime/deadline.ts';
import type { UpstreamCall, UpstreamReply } from '../call.ts';
import { inEras } from '../era-2026/era-transport.ts';
import type { ServerLists } from '../link/fetch-lists.ts';
import type { Transport } from '../transport/transport.ts';
import { ClientSide } from './client-side.ts';
import { ConnectionEvents } from './connection-events.ts';
import { ConnectionLoss } from './connection-loss.ts';
import { ConnectionNotes } from './connection-notes.ts';
import { ConnectionOpening, type OpenedServer } from './connection-opening.ts';
import type { ConnectionParts } from './connection-parts.ts';
import { ConnectionPhase, type PhaseListener } from './connection-phase.ts';
import { Correlator, requestTable } from './correlator.ts';
import { Handshaker } from './handshaker.ts';
import { InvalidMessages } from './invalid-messages.ts';
import { ListReader } from './list-reader.ts';
import { Liveness } from './liveness.ts';
import { MessageRouter } from './message-router.ts';
import { NotificationRate } from './notification-rate.ts';
import type { RequestOptions } from './pending-request.ts';
import { ReplyMatcher } from './reply-matcher.ts';
import { ServerProfile } from './server-profile.ts';
import { SessionRenewal } from './session-renewal.ts';
import { UnownedAnswers } from './unowned-answers.ts';

const ONE_SESSION_NOTE =
  'refuses a second session: another worker of the hub holds one, and calls go through that worker';

export class Connection {
  readonly #parts: ConnectionParts;
  readonly transport: Transport;
  readonly correlator: Correlator;
  readonly liveness: Liveness;
  readonly clientSide: ClientSide;
  readonly #notes: ConnectionNotes;
  readonly #loss: ConnectionLoss;
  readonly #lists: ListReader;
  readonly #renewal: SessionRenewal;
  readonly #opening: ConnectionOpening;

  constructor(parts: ConnectionParts) {
    this.#parts = parts;
    const { runtime, limits, spec, clientContext, owner } = parts;
    const server = spec.slug;
    const notes = new ConnectionNotes(runtime, server);
    if (parts.peer !== undefined) notes.add(ONE_SESSION_NOTE);
    const phase = new ConnectionPhase();
    const profile = new ServerProfile();
    const invalid = new InvalidMessages(runtime, server);
    const rate = new NotificationRate(runtime, limits, server);
    const requests = requestTable(runtime);
    const events = new ConnectionEvents({ bus: runtime.bus, server, notes, phase });
    const { preferencesChanged } = events;
    const transport = inEras({ ...parts, preferencesChanged, nextId: () => requests.takeId() }, events);
    const unowned = new UnownedAnswers(runtime);
    const correlator = new Correlator({ runtime, server, transport, requests, unowned, invalid, rate, owner });
    const replies = new ReplyMatcher({ server, requests, unowned, invalid, correlator });
    const loss = new ConnectionLoss(server, correlator);
    const liveness = new Liveness({ runtime, limits, server, correlator, transport, profile, owner });
    const { name } = spec;
    const clientSide = new ClientSide({ runtime, limits, server, name, clientContext, correlator, owner });
    const handshaker = new Handshaker({ connection: parts, transport, correlator, notes, phase });
    const lists = new ListReader({ connection: parts, correlator, profile, loss });
    const about = { connection: parts, transport, profile, loss, liveness, handshaker };
    const renewal = new SessionRenewal({ ...about, correlator, clientSide });
    const listChanged = clientContext.listChanged ?? (() => owner.listChanged());
    const router = new MessageRouter({ runtime, limits, invalid, rate, correlator, replies, clientSide, listChanged });
    events.deliverTo({ correlator, replies, liveness, loss, clientSide, renewal, router });
    this.transport = transport;
    this.correlator = correlator;
    this.liveness = liveness;
    this.clientSide = clientSide;
    this.#notes = notes;
    this.#loss = loss;
    this.#lists = lists;
    this.#renewal = renewal;
    this.#opening = new ConnectionOpening({ ...about, phase, lists });
  }

  /** Socket of the worker that holds the server's only session; undefined for a direct connection. */
  get peer(): string | undefined {
    return this.#parts.peer;
  }

  /** Pid of a child; undefined for other servers. */
  get pid(): number | undefined {
    const transport: Transport & { readonly pid?: number | undefined } = this.transport;
    return transport.pid;
  }

  /** What was learned about the server's protocol. */
  get notes(): readonly string[] {
    return this.#notes.all;
  }

  /** The newest of the calls that were running when it was lost. */
  get lastCall(): RequestOptions | undefined {
    return this.#loss.lastCall;
  }

  /** Tells whether the server answers a probe. Never rejects; ends in 2 × `pingMs`, or with the connection. */
  async isAlive(): Promise<boolean> {
    return this.#loss.fault === undefined && this.liveness.isAlive();
  }

  /** Settles with the reason when this connection has ended. */
  get lost(): Promise<HubError> {
    return this.#loss.lost;
  }

  /** Opens the transport, initializes and reads the lists, each in its time; rejects with the phase. */
  open(listener?: PhaseListener): Promise<OpenedServer> {
    return this.#opening.open(listener);
  }

  /** Reads the lists again; rejects when the connection is lost meanwhile. */
  list(hello: InitializeResult, deadline: Deadline): Promise<ServerLists> {
    return this.#lists.read(hello, deadline);
  }

  send(call: UpstreamCall): Outcome<UpstreamReply> | Promise<Outcome<UpstreamReply>> {
    const { notSent } = this.#loss;
    if (notSent) return notSent;
    const { renewing } = this.#renewal;
    if (renewing !== undefined) return this.#sendRenewed(renewing, call);
    return this.#ask(call);
  }

  /** Ends the connection and its pending requests for a reason; only the first one counts. */
  lose(fault: HubError): void {
    this.#loss.lose(fault);
  }

  /** Stops the transport. Never rejects. */
  async close(deadline: Deadline): Promise<void> {
    const { runtime, spec } = this.#parts;
    this.lose(new HubError('server-down', { message: `${spec.slug} was stopped.` }));
    try {
      await runtime.waits.for(this.transport.stop(deadline), { label: 'upstream-stop', owner: spec.slug, deadline });
    } catch {
      // It did not stop in time; the sweep of marked descendants ends it.
    }
    this.clientSide[Symbol.dispose]();
    this.correlator[Symbol.dispose]();
  }

  /** Renews the session, which the server does not know. */
  forgotten(): void {
    this.#renewal.forgotten();
  }

  #ask(call: UpstreamCall): Outcome<UpstreamReply> | Promise<Outcome<UpstreamReply>> {
    const { method, owner, fairKey: share, budget, back } = call;
    const plan: RequestOptions = { method, label: 'upstream-call', owner, share, budget, back, watch: this.liveness };
    return this.correlator.ask(plan, (id) => call.params(id));
  }

  /** Waits for the renewal of the session: before it, a request would get the same 404. */
  async #sendRenewed(renewal: Promise<void>, call: UpstreamCall): Promise<Outcome<UpstreamReply>> {
    const { runtime, spec } = this.#parts;
    try {
      await runtime.waits.for(renewal, { label: 'link-ready', owner: call.owner, deadline: call.budget.deadline });
    } catch {
      if (!this.#loss.fault)
        return new Refusal('client-gone', undefined, { server: spec.slug, outcome: 'not-executed' });
    }
    return this.#loss.notSent ?? this.#ask(call);
  }
}

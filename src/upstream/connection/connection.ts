/**
 * One connection of a link, from opening to loss: transport, handshake, pending requests. `link.ts` reconnects.
 * Guarantees: `open` ends within its timeouts; the first `lose` ends all pending requests at once; after `close` no
 * request, socket or process of it remains.
 */

import { type ErrorCode, HubError } from '../../model/errors.ts';
import type { LinkPhase } from '../../model/events.ts';
import { type Outcome, Refusal } from '../../model/outcome.ts';
import type { InitializeResult } from '../../protocol/era-2025/initialize.ts';
import { CallBudget } from '../../runtime/call-budget.ts';
import type { Deadline } from '../../runtime/deadline.ts';
import type { UpstreamCall, UpstreamReply } from '../call.ts';
import { endedRefusal, goneRefusal, isLocal, phaseSetting, timeUpFault, withSigns } from '../call-endings.ts';
import { inEras } from '../era-2026/era-transport.ts';
import { listAll, listQuestion, NO_LISTS, type ServerLists } from '../link/fetch-lists.ts';
import { makeRoom as makeRoomFor } from '../link/held-elsewhere.ts';
import type { Transport, TransportEvents } from '../transport/transport.ts';
import { ClientSide } from './client-side.ts';
import type { ConnectionParts } from './connection-parts.ts';
import { Correlator, isCall } from './correlator.ts';
import { shakeHands } from './handshake.ts';
import { Liveness } from './liveness.ts';
import type { PendingRequest, RequestOptions } from './pending-request.ts';
import { SessionRenewal } from './session-renewal.ts';

/** Time for which lists other than tools may delay a start, ms; after that they are read in the background. */
const BESIDE_MS = 2000;
const MAX_NOTES = 8;
const ONE_SESSION_NOTE =
  'refuses a second session: another worker of the hub holds one, and calls go through that worker';
/** Failures that hide only the tools of a working server; any other failure to read them is the server's. */
const FAULTS_OF_ALL: ReadonlySet<ErrorCode> = new Set(['upstream-auth', 'upstream-session']);

export class Connection {
  readonly #parts: ConnectionParts;
  readonly transport: Transport;
  readonly correlator: Correlator;
  readonly liveness: Liveness;
  readonly clientSide: ClientSide;
  readonly #lost = Promise.withResolvers<HubError>();
  #fault: HubError | undefined;
  #phase: LinkPhase = 'connect';
  /** The tools could not be read last time. */
  #isToolless = false;
  /** The server's initialize result; undefined before it. */
  hello: InitializeResult | undefined;
  /** The newest of the calls that were running when it was lost. */
  lastCall: RequestOptions | undefined;
  /** What was learned about the server's protocol. */
  readonly notes: string[] = []; // bounded by: MAX_NOTES
  #opening: Deadline | undefined;
  readonly #renewal: SessionRenewal;

  constructor(parts: ConnectionParts) {
    this.#parts = parts;
    const { runtime, limits, spec, clientContext } = parts;
    this.clientSide = new ClientSide({
      ...{ runtime, limits, server: spec.slug, name: spec.name, clientContext },
      correlator: () => this.correlator,
      listChanged: () => parts.listChanged(),
    });
    const preferencesChanged = () => this.clientSide.preferencesChanged();
    this.transport = inEras(
      { ...parts, preferencesChanged, nextId: () => this.correlator.ids.takeId() },
      this.#events(),
    );
    if (parts.peer !== undefined) this.#learned(ONE_SESSION_NOTE);
    this.correlator = new Correlator({
      ...{ runtime, limits, server: spec.slug },
      transport: this.transport,
      handlers: {
        silent: (pending) => this.liveness.silent(pending),
        tooSilent: (pending, silentMs) => this.liveness.tooSilent(pending, silentMs),
        ended: (pending) => this.#ended(pending),
        mayCancel: parts.mayCancel,
        listChanged: (method) => (clientContext.listChanged ?? parts.listChanged)(method),
        notice: (envelope, exchange) => this.clientSide.notice(envelope, exchange),
        question: (envelope, exchange) => this.clientSide.question(envelope, exchange),
        takenBack: (envelope) => this.clientSide.takenBack(envelope),
      },
    });
    this.liveness = new Liveness({
      runtime,
      limits,
      server: spec.slug,
      correlator: this.correlator,
      transport: this.transport,
      hello: () => this.hello,
      list: () => listQuestion(this.hello?.capabilities ?? {}, this.#isToolless),
      raise: parts.raise,
    });
    this.#renewal = new SessionRenewal({
      ...{ runtime, limits, server: spec.slug, transport: this.transport },
      ...{ correlator: this.correlator, liveness: this.liveness },
      shakeHands: (deadline) => this.#shakeHands(deadline),
      isLost: () => this.#fault !== undefined,
      lose: (fault) => this.lose(fault),
      renewed: (hello) => {
        this.hello = hello;
        parts.renewed(hello);
      },
    });
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

  /** Tells whether the server answers a probe. Never rejects; ends in 2 × `pingMs`, or with the connection. */
  async isAlive(): Promise<boolean> {
    return this.#fault === undefined && this.liveness.isAlive();
  }

  /** Settles with the reason when this connection has ended. */
  get lost(): Promise<HubError> {
    return this.#lost.promise;
  }

  /** Opens the transport, initializes and reads the lists, each in its time; rejects with the phase. */
  async open(): Promise<{ readonly hello: InitializeResult; readonly lists: ServerLists }> {
    const { runtime, spec, limits } = this.#parts;
    const startBudgetMs = spec.startMs ?? limits.startMs;
    using own = runtime.deadline(
      isLocal(spec) ? (spec.installMs ?? limits.installMs) + startBudgetMs : limits.connectMs + limits.handshakeMs,
    );
    this.#opening = own;
    const startMs = runtime.clock.nowMs();
    try {
      if (this.#fault) throw this.#fault;
      const label = 'upstream-start';
      await runtime.waits.for(this.transport.start(own), { label, owner: spec.slug, deadline: own });
      using shake = own.sooner(isLocal(spec) ? startBudgetMs : limits.handshakeMs);
      const hello = await this.#shakeHands(shake);
      this.hello = hello;
      void this.#enter('list');
      using list = runtime.deadline(limits.listMs * limits.listPages);
      this.#opening = list;
      const lists = await this.list(hello, list, BESIDE_MS);
      const { toolsFault } = lists;
      if (toolsFault && !(await this.#isWellWithout(lists, toolsFault))) throw toolsFault;
      return { hello, lists };
    } catch (thrown) {
      if (this.#fault) throw this.#fault;
      const isExpired = thrown instanceof HubError && thrown.code === 'wait-expired';
      const fault = isExpired ? timeUpFault(spec.slug, this.#phase, runtime.clock.nowMs() - startMs) : thrown;
      const explained = await this.transport.explained?.(fault, own);
      throw withSigns(explained ?? fault, this.transport.signs?.() ?? []);
    } finally {
      this.#opening = undefined;
    }
  }

  /** Requests only what the server declares. `besideMs`: see `listAll`. */
  async list(hello: InitializeResult, deadline: Deadline, besideMs?: number): Promise<ServerLists> {
    if (!this.#parts.clientContext.lists) return NO_LISTS;
    const { runtime, limits, spec, isForward } = this.#parts;
    const parts = { runtime, limits, server: spec.slug, correlator: this.correlator, isForward };
    const lists = await listAll(parts, hello, deadline, besideMs);
    if (this.#fault) throw this.#fault; // lists that the end of a connection has cut short do not count
    this.#isToolless = lists.toolsFault !== undefined;
    return lists;
  }

  /** Tells whether a server without readable tools is useful: it returns other lists, or answers a ping. */
  async #isWellWithout({ prompts, resources, templates }: ServerLists, { code }: HubError): Promise<boolean> {
    if (FAULTS_OF_ALL.has(code)) return false;
    const hasOthers = [prompts, resources, templates].some((rows) => rows !== undefined && rows.length > 0);
    const isWell = hasOthers || (await this.liveness.isAlive());
    if (this.#fault) throw this.#fault;
    return isWell;
  }

  send(call: UpstreamCall): Outcome<UpstreamReply> | Promise<Outcome<UpstreamReply>> {
    if (this.#fault) return goneRefusal(this.#parts.spec.slug, this.#fault, 'not-executed');
    const { renewing } = this.#renewal;
    if (renewing !== undefined) return this.#sendRenewed(renewing, call);
    return this.#ask(call);
  }

  /** Ends the connection and its pending requests for a reason; only the first one counts. */
  lose(fault: HubError): void {
    if (this.#fault) return;
    this.#fault = fault;
    this.lastCall = this.correlator.newest(isCall)?.plan;
    this.#opening?.end('stopped');
    this.correlator.failAll(() => goneRefusal(this.#parts.spec.slug, fault, 'unknown'));
    this.#lost.resolve(fault);
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

  #ask(call: UpstreamCall): Outcome<UpstreamReply> | Promise<Outcome<UpstreamReply>> {
    const { method, owner, fairKey: share, budget, back } = call;
    const label = 'upstream-call';
    return this.correlator.ask({ method, label, owner, share, budget, back }, (id) => call.params(id));
  }

  /** Waits for the renewal of the session: before it, a request would get the same 404. */
  async #sendRenewed(renewal: Promise<void>, call: UpstreamCall): Promise<Outcome<UpstreamReply>> {
    const { runtime, spec } = this.#parts;
    try {
      await runtime.waits.for(renewal, { label: 'link-ready', owner: call.owner, deadline: call.budget.deadline });
    } catch {
      if (!this.#fault) return new Refusal('client-gone', undefined, { server: spec.slug, outcome: 'not-executed' });
    }
    return this.#fault ? goneRefusal(spec.slug, this.#fault, 'not-executed') : this.#ask(call);
  }

  async #shakeHands(deadline: Deadline): Promise<InitializeResult> {
    void this.#enter('handshake');
    const { spec, version, clientContext, isForward, versionBefore, opening, sharing } = this.#parts;
    const { correlator, transport } = this;
    const budget = new CallBudget(deadline, phaseSetting('handshake', isLocal(spec)));
    const { capabilityBits } = clientContext;
    const learned = (note: string) => this.#learned(note);
    const about = { learned, spec, correlator, transport, version, capabilityBits, isForward };
    const makeRoom = (until: Deadline) => makeRoomFor({ server: spec.slug, transport, correlator, sharing }, until);
    return shakeHands({ ...about, makeRoom, opening, before: versionBefore() }, budget);
  }

  #enter(phase: LinkPhase): Promise<void> | undefined {
    this.#phase = phase;
    return this.#parts.phase(phase);
  }

  #events(): TransportEvents {
    const { spec, runtime } = this.#parts;
    return {
      message: (envelope, exchange) => {
        const nowMs = this.liveness.seen();
        if (envelope.kind === 'reply') this.#renewal.replied(exchange);
        this.correlator.message(envelope, exchange, nowMs);
      },
      failed: (id, fault) => this.correlator.failed(id, fault),
      unreadable: (fault) => this.correlator.unreadable(fault),
      alive: (id) => this.correlator.alive(id, this.liveness.seen()),
      phase: (phase) => this.#enter(phase),
      sessionLost: (id, fault) => this.#renewal.doubted(id, fault),
      closed: (fault) => this.lose(fault),
      learned: (note) => this.#learned(note),
      question: () => this.liveness.question(),
      said: (line) => runtime.bus.publish({ type: 'server-said', server: spec.slug, line }),
    };
  }

  #learned(note: string): void {
    if (this.notes.includes(note) || this.notes.length >= MAX_NOTES) return;
    this.notes.push(note);
    const { runtime, spec } = this.#parts;
    runtime.bus.publish({ type: 'server-habit-learned', server: spec.slug, note });
  }

  /** Renews the session, which the server does not know. */
  forgotten(): void {
    this.#renewal.forgotten();
  }

  #ended(pending: PendingRequest): void {
    const reason = pending.plan.budget.deadline.ended ?? 'cancelled';
    if (!this.#fault) this.correlator.cancel(pending, reason === 'time-up' ? 'timeout' : 'cancelled by the client');
    const waitedMs = Math.round(this.#parts.runtime.clock.nowMs() - pending.sentMs);
    pending.settle(endedRefusal(this.#parts.spec.slug, pending.plan, reason, waitedMs));
  }
}

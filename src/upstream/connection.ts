/**
 * One life of a link: a transport that has been opened, the handshake, the requests in flight on it, until it is lost.
 * Promises: `open` ends by its budgets; the first `lose` ends everything in flight at once; after `close` nothing of it is left: no request,
 * no socket, no process.
 * Does not: try again or keep state beyond its life (`link.ts`).
 */
import type { Deadline } from '../kernel/deadline.ts';
import { type ErrorCode, HubError } from '../kernel/errors.ts';
import type { LinkPhase } from '../kernel/facts.ts';
import { type Outcome, Refusal } from '../kernel/outcome.ts';
import type { ServerHello } from '../protocol/era-2025/initialize.ts';
import { ClientSide } from './_client-side.ts';
import type { ConnectionParts } from './_connection-parts.ts';
import { endedRefusal, goneRefusal, isLocal, phaseSetting, timeUpFault, withSigns } from './_endings.ts';
import { makeRoom as makeRoomFor } from './_held-elsewhere.ts';
import { SessionRenewal } from './_session-renewal.ts';
import type { UpstreamCall, UpstreamReply } from './call.ts';
import { Correlator, isCall } from './correlate.ts';
import { inEras } from './era-transport.ts';
import type { Flight, FlightPlan } from './flight.ts';
import { shakeHands } from './handshake.ts';
import { listAll, listQuestion, type ServerLists } from './list.ts';
import { Liveness } from './liveness.ts';
import type { Transport, TransportEvents } from './transport.ts';

/** How a call is sent besides what it says: its own silence, and the deadline with the setting that allows more. */
export interface SendTimes {
  readonly silenceMs: number;
  readonly deadline: Deadline;
  readonly setting: string;
}

/** The lists beside the tools may keep a server from being ready for so long, ms; after that they are read in the background. */
const BESIDE_MS = 2000;
const MAX_NOTES = 8;
const ONE_SESSION_NOTE =
  'refuses a second session: another worker of the hub holds one, and calls go through that worker';
const NO_LISTS: ServerLists = {
  ...{ tools: [], prompts: [], resources: [], templates: [], unread: [] },
  ...{ isBlank: false, toolsFault: undefined },
};
/** What hides the tools of a server that is well otherwise; any other fault of theirs is the server's. */
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
  /** What the server said of itself; undefined = it has not, yet. */
  hello: ServerHello | undefined;
  /** The newest of the calls that ran when it was lost. */
  lastCall: FlightPlan | undefined;
  /** How the server wants to be spoken to. */
  readonly notes: string[] = []; // bounded by: MAX_NOTES
  #opening: Deadline | undefined;
  readonly #renewal: SessionRenewal;

  constructor(parts: ConnectionParts) {
    this.#parts = parts;
    const { kernel, limits, spec, talk } = parts;
    this.clientSide = new ClientSide({
      ...{ kernel, limits, server: spec.slug, name: spec.name, talk },
      correlator: () => this.correlator,
      listChanged: () => parts.listChanged(),
    });
    const wishesChanged = () => this.clientSide.wishesChanged();
    this.transport = inEras({ ...parts, wishesChanged, nextId: () => this.correlator.ids.takeId() }, this.#events());
    if (parts.peer !== undefined) this.#learned(ONE_SESSION_NOTE);
    this.correlator = new Correlator({
      ...{ kernel, limits, server: spec.slug },
      transport: this.transport,
      ears: {
        silent: (flight) => this.liveness.silent(flight),
        tooSilent: (flight, silentMs) => this.liveness.tooSilent(flight, silentMs),
        ended: (flight) => this.#ended(flight),
        mayCancel: parts.mayCancel,
        listChanged: (method) => (talk.listChanged ?? parts.listChanged)(method),
        notice: (envelope, exchange) => this.clientSide.notice(envelope, exchange),
        question: (envelope, exchange) => this.clientSide.question(envelope, exchange),
        takenBack: (envelope) => this.clientSide.takenBack(envelope),
      },
    });
    this.liveness = new Liveness({
      kernel,
      limits,
      server: spec.slug,
      correlator: this.correlator,
      transport: this.transport,
      hello: () => this.hello,
      list: () => listQuestion(this.hello?.capabilities ?? {}, this.#isToolless),
      raise: parts.raise,
    });
    this.#renewal = new SessionRenewal({
      ...{ kernel, limits, server: spec.slug, transport: this.transport },
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

  /** Socket of the worker that it goes through, because that one holds the server's only session; undefined = it goes to the server. */
  get peer(): string | undefined {
    return this.#parts.peer;
  }

  /** Of a child; undefined for others. */
  get pid(): number | undefined {
    const transport: Transport & { readonly pid?: number | undefined } = this.transport;
    return transport.pid;
  }

  /** Whether the server answers a question on this connection. Never rejects; ends within 2 × `pingMs`, and at once when the connection is lost. */
  async isAlive(): Promise<boolean> {
    return this.#fault === undefined && this.liveness.isAlive();
  }

  /** Settles with the reason when this life is over. */
  get lost(): Promise<HubError> {
    return this.#lost.promise;
  }

  /** Opens the transport, shakes hands and reads the lists, each within its budget. Rejects with a HubError that names the phase. */
  async open(): Promise<{ readonly hello: ServerHello; readonly lists: ServerLists }> {
    const { kernel, spec, limits } = this.#parts;
    const startBudgetMs = spec.startMs ?? limits.startMs;
    using own = kernel.deadline(
      isLocal(spec) ? (spec.installMs ?? limits.installMs) + startBudgetMs : limits.connectMs + limits.handshakeMs,
    );
    this.#opening = own;
    const startMs = kernel.clock.nowMs();
    try {
      if (this.#fault) throw this.#fault;
      const label = 'upstream-start';
      await kernel.waits.for(this.transport.start(own), { label, owner: spec.slug, deadline: own });
      using shake = own.sooner(isLocal(spec) ? startBudgetMs : limits.handshakeMs);
      const hello = await this.#shakeHands(shake);
      this.hello = hello;
      void this.#enter('list');
      using list = kernel.deadline(limits.listMs * limits.listPages);
      this.#opening = list;
      const lists = await this.list(hello, list, BESIDE_MS);
      const { toolsFault } = lists;
      if (toolsFault && !(await this.#isWellWithout(lists, toolsFault))) throw toolsFault;
      return { hello, lists };
    } catch (thrown) {
      if (this.#fault) throw this.#fault;
      const isExpired = thrown instanceof HubError && thrown.code === 'wait-expired';
      const fault = isExpired ? timeUpFault(spec.slug, this.#phase, kernel.clock.nowMs() - startMs) : thrown;
      const explained = await this.transport.explained?.(fault, own);
      throw withSigns(explained ?? fault, this.transport.signs?.() ?? []);
    } finally {
      this.#opening = undefined;
    }
  }

  /** Only what the server declares is asked for. `besideMs`: see `listAll`. */
  async list(hello: ServerHello, deadline: Deadline, besideMs?: number): Promise<ServerLists> {
    if (!this.#parts.talk.lists) return NO_LISTS;
    const { kernel, limits, spec, isForward } = this.#parts;
    const parts = { kernel, limits, server: spec.slug, correlator: this.correlator, isForward };
    const lists = await listAll(parts, hello, deadline, besideMs);
    if (this.#fault) throw this.#fault; // what a connection's end has cut short is no list
    this.#isToolless = lists.toolsFault !== undefined;
    return lists;
  }

  /** Whether a server whose tools cannot be read is of use all the same: it gives other lists, or answers a ping. */
  async #isWellWithout({ prompts, resources, templates }: ServerLists, { code }: HubError): Promise<boolean> {
    if (FAULTS_OF_ALL.has(code)) return false;
    const hasOthers = [prompts, resources, templates].some((rows) => rows !== undefined && rows.length > 0);
    const isWell = hasOthers || (await this.liveness.isAlive());
    if (this.#fault) throw this.#fault;
    return isWell;
  }

  send(call: UpstreamCall, times: SendTimes): Outcome<UpstreamReply> | Promise<Outcome<UpstreamReply>> {
    if (this.#fault) return goneRefusal(this.#parts.spec.slug, this.#fault, 'not-executed');
    const { renewing } = this.#renewal;
    if (renewing !== undefined) return this.#sendRenewed(renewing, call, times);
    return this.#ask(call, times);
  }

  /** Ends this life for a reason; the first one counts. Whatever is in flight ends with it. */
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
    const { kernel, spec } = this.#parts;
    this.lose(new HubError('server-down', { message: `${spec.slug} was stopped.` }));
    try {
      await kernel.waits.for(this.transport.stop(deadline), { label: 'upstream-stop', owner: spec.slug, deadline });
    } catch {
      // It did not stop in time; the sweep of marked descendants ends what is left.
    }
    this.clientSide[Symbol.dispose]();
    this.correlator[Symbol.dispose]();
  }

  #ask(call: UpstreamCall, times: SendTimes): Outcome<UpstreamReply> | Promise<Outcome<UpstreamReply>> {
    const { questionMs } = this.#parts.limits;
    return this.correlator.ask(
      {
        method: call.method,
        label: 'upstream-call',
        ...{ owner: call.owner, share: call.fairKey },
        deadline: times.deadline,
        setting: times.setting,
        back: call.back,
        silence: { questionMs, silenceMs: times.silenceMs },
      },
      (id) => call.params(id),
    );
  }

  /** While the session is being renewed a request would only meet the same 404. */
  async #sendRenewed(renewal: Promise<void>, call: UpstreamCall, times: SendTimes): Promise<Outcome<UpstreamReply>> {
    const { kernel, spec } = this.#parts;
    try {
      await kernel.waits.for(renewal, { label: 'link-ready', owner: call.owner, deadline: times.deadline });
    } catch {
      if (!this.#fault) return new Refusal('client-gone', undefined, { server: spec.slug, outcome: 'not-executed' });
    }
    return this.#fault ? goneRefusal(spec.slug, this.#fault, 'not-executed') : this.#ask(call, times);
  }

  async #shakeHands(deadline: Deadline): Promise<ServerHello> {
    void this.#enter('handshake');
    const { spec, version, talk, isForward, versionBefore, opening, sharing } = this.#parts;
    const { correlator, transport } = this;
    const setting = phaseSetting('handshake', isLocal(spec));
    const { capabilityBits } = talk;
    const learned = (note: string) => this.#learned(note);
    const about = { learned, spec, correlator, transport, version, setting, capabilityBits, isForward };
    const makeRoom = (until: Deadline) => makeRoomFor({ server: spec.slug, transport, correlator, sharing }, until);
    return shakeHands({ ...about, makeRoom, opening, before: versionBefore() }, deadline);
  }

  #enter(phase: LinkPhase): Promise<void> | undefined {
    this.#phase = phase;
    return this.#parts.phase(phase);
  }

  #events(): TransportEvents {
    const { spec, kernel } = this.#parts;
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
      said: (line) => kernel.bus.publish({ type: 'server-said', server: spec.slug, line }),
    };
  }

  #learned(note: string): void {
    if (this.notes.includes(note) || this.notes.length >= MAX_NOTES) return;
    this.notes.push(note);
    const { kernel, spec } = this.#parts;
    kernel.bus.publish({ type: 'server-habit-learned', server: spec.slug, note });
  }

  /** The server does not know the session. */
  forgotten(): void {
    this.#renewal.forgotten();
  }

  #ended(flight: Flight): void {
    const reason = flight.plan.deadline.ended ?? 'cancelled';
    if (!this.#fault) this.correlator.cancel(flight, reason === 'time-up' ? 'timeout' : 'cancelled by the client');
    const waitedMs = Math.round(this.#parts.kernel.clock.nowMs() - flight.sentMs);
    flight.settle(endedRefusal(this.#parts.spec.slug, flight.plan, reason, waitedMs));
  }
}

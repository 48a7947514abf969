/**
 * The lasting relation to one server: connects, lists, watches, and reconnects with backoff up to a maximum delay.
 * Guarantees: `ready` follows a finished handshake and list; the last good lists are kept during every outage; there is
 * one connection, except during a trial of a new session (once in 30 s) and while calls end in a replaced one.
 */

import { HubError } from '../../model/errors.ts';
import type { Outcome, Refusal } from '../../model/outcome.ts';
import type { RawListing, ServerSpec } from '../../model/snapshot.ts';
import type { Deadline } from '../../runtime/deadline.ts';
import { Scope } from '../../runtime/scope.ts';
import type { UpstreamCall, UpstreamReply } from '../call.ts';
import { faultOf } from '../call-endings.ts';
import type { ClientSide } from '../connection/client-side.ts';
import { Connection } from '../connection/connection.ts';
import { ConnectionHistory } from './connection-history.ts';
import { ConnectionSwitch, type LifeEnd, type OpenedConnection } from './connection-switch.ts';
import { ConnectionWatch } from './connection-watch.ts';
import { HeldElsewhere, HolderGone, watchHolder } from './held-elsewhere.ts';
import { publishRaised, publishReady } from './link-events.ts';
import { LinkLists } from './link-lists.ts';
import type { LinkParts } from './link-parts.ts';
import { LinkStateTracker, type LinkView } from './link-state.ts';
import { downRefusal, untilReady } from './not-ready.ts';
import { OpeningMemory } from './opening-memory.ts';
import { type StartTurn, startTurn } from './start-turn.ts';
import { waitForRetry } from './wait-for-retry.ts';

/** The transport's part of the time to stop. */
const CLOSE_SHARE = 0.9;

export class Link {
  readonly #parts: LinkParts;
  readonly #scope: Scope;
  readonly #linkState: LinkStateTracker;
  readonly lives: ConnectionHistory;
  readonly opening: OpeningMemory;
  #spec: ServerSpec;
  #connection: Connection | undefined;
  readonly #handover: ConnectionSwitch;
  #turn: StartTurn | undefined;
  #watch: ConnectionWatch | undefined;
  readonly #lists: LinkLists;
  #lastTail: readonly string[] = []; // bounded by: stderrTailBytes
  #stopping: Deadline | undefined;

  constructor(parts: LinkParts) {
    this.#parts = parts;
    this.#spec = parts.spec;
    this.#linkState = new LinkStateTracker(parts.runtime.clock);
    const before = () => parts.openingBefore?.();
    this.opening = new OpeningMemory(parts.runtime.clock, () => this.#spec.hash, before);
    this.lives = new ConnectionHistory({ ...parts, server: parts.spec.slug, opening: this.opening });
    this.#lists = new LinkLists(parts.runtime, parts.listed, () => this.opening.learned);
    this.#scope = new Scope(`link ${parts.spec.slug}`, {
      faulted: (task, fault) => parts.runtime.bus.publish({ type: 'task-faulted', task, fault }),
      stuck: (task) => parts.runtime.bus.publish({ type: 'task-stuck', task }),
    });
    this.#handover = new ConnectionSwitch({
      ...{ runtime: parts.runtime, limits: parts.limits, scope: this.#scope, server: parts.spec.slug },
      connect: () => this.#connect(),
      closing: () => this.#closing(),
    });
  }

  /** The last good lists of this process. */
  get rawListing(): RawListing | undefined {
    return this.#lists.raw;
  }

  get view(): LinkView {
    return this.#linkState.view;
  }
  get stderrTail(): readonly string[] {
    const tail = this.#connection?.transport.stderrTail() ?? [];
    return tail.length > 0 ? tail : this.#lastTail;
  }
  get shown(): Pick<Connection, 'pid' | 'notes' | 'peer' | 'correlator'> | undefined {
    return this.#connection;
  }

  /** True when this worker has, needs no, or takes over a session; false when it goes through another worker. */
  get holdsSession(): boolean {
    const connection = this.#connection;
    if (this.#parts.kind !== 'remote' || connection?.peer !== undefined) return false;
    if (this.#parts.patienceMs !== undefined && this.#linkState.isBeginning) return true;
    return this.#linkState.state === 'ready' || connection?.transport.session?.isOpen === true;
  }

  /** Applies settings that require no reconnect. */
  update(spec: ServerSpec): void {
    this.#spec = spec;
  }

  start(): void {
    if (this.#linkState.state !== 'idle' || this.#scope.closed) return;
    this.#linkState.enter('connecting');
    this.#scope.run('life', () => this.#live());
  }

  /** Reconnects now, without backoff; ends the current connection. */
  restart(): void {
    this.#connection?.lose(new HubError('server-down', { message: `${this.#spec.slug} is being restarted.` }));
    this.lives.backoff.retryNow();
  }

  async stop(deadline: Deadline): Promise<void> {
    if (this.#linkState.state === 'stopped') return;
    this.#linkState.enter('stopped');
    this.#stopping = deadline;
    this.#turn?.[Symbol.dispose]();
    const fault = new HubError('server-down', { message: `${this.#spec.slug} was stopped.` });
    for (const held of [this.#connection, this.#handover]) held?.lose(fault);
    this.lives.backoff.wake();
    await this.#scope.close(deadline);
    this.lives[Symbol.dispose]();
  }

  /** Tells whether the server responds, for a circuit breaker that may close. Never rejects; ends within `pingMs`. */
  async isAlive(): Promise<boolean> {
    return this.#linkState.state === 'ready' && (await this.#connection?.isAlive()) === true;
  }

  /** Returns undefined when ready, a promise that settles within `handshakeMs`, or the reason why it is not ready. */
  whenReady(deadline: Deadline, owner: string): Outcome<undefined> | Promise<Outcome<undefined>> {
    const { state } = this.#linkState;
    if (state === 'ready') return undefined;
    if (state !== 'connecting' && state !== 'idle' && !this.lives.wake(state)) return this.#down();
    return untilReady({ ...this.#parts, linkState: this.#linkState, spec: this.#spec }, deadline, owner);
  }

  /** `cut`: a deadline sooner than the call's own, with the setting that it comes from. */
  send(
    call: UpstreamCall,
    cut?: { readonly deadline: Deadline; readonly setting: string },
  ): Outcome<UpstreamReply> | Promise<Outcome<UpstreamReply>> {
    if (this.#linkState.state !== 'ready' || !this.#connection) return this.#down();
    const silenceMs = Math.max(call.times.silenceMs, this.#linkState.raisedMs ?? 0);
    return this.#connection.send(call, { silenceMs, ...(cut ?? { deadline: call.deadline, setting: 'totalMs' }) });
  }

  /** Receives changes of the client side; undefined when there is no connection, which gets them when it is ready. */
  get clientSide(): ClientSide | undefined {
    return this.#linkState.state === 'ready' ? this.#connection?.clientSide : undefined;
  }
  /** Probes the server soon after a suspicious call failure. `doAllFail`: the calls before it failed as well. */
  suspect(doAllFail: boolean): void {
    this.#watch?.suspect(doAllFail);
  }

  /** Reads the list again, because the server rejected a tool of its own list as unknown. */
  unknownTool(): void {
    this.#watch?.unknownTool();
  }

  readonly #down = (): Refusal => downRefusal(this.#spec.slug, this.view);

  async #live(): Promise<void> {
    while (!this.#scope.closed) {
      const fault = await this.#oneLife().catch((thrown: unknown) => {
        // A fault in the hub's own code must not end the link.
        const own = faultOf(thrown, this.#parts.runtime, this.#spec.slug);
        this.#linkState.failed(own);
        return own;
      });
      if (this.#scope.closed) break;
      await waitForRetry(this.#parts, this.lives.backoff, this.#linkState, fault);
    }
    this.#parts.runtime.bus.publish({ type: 'server-stopped', server: this.#spec.slug, reason: 'asked' });
  }

  /** Runs one connection from opening to loss; returns why it ended. */
  async #oneLife(): Promise<HubError> {
    this.lives.begin();
    this.#lists.isStale = false;
    this.#linkState.enter('connecting', this.#parts.kind === 'local' ? 'start' : 'connect');
    let connection = this.#connect();
    this.#connection = connection;
    let end = await this.#untilLost(connection, () => this.#open(connection));
    while (end instanceof HeldElsewhere || !(end instanceof HubError)) {
      const next = end;
      if (next instanceof HeldElsewhere) {
        this.#linkState.enter('connecting', 'connect');
        await this.#close(connection);
      } else this.#handover.retire(connection);
      const own = next instanceof HeldElsewhere ? this.#connect(next.peer) : next.connection;
      this.#connection = connection = own;
      end = await this.#untilLost(own, () => ('hello' in next ? this.#becomeReady(next) : this.#open(own)));
    }
    if (!(end instanceof HolderGone)) connection.lose(end);
    const asleep = this.lives.ended(end, connection.lastCall, this.#parts.clientContext.subscriptions().length > 0);
    this.#linkState.fault = asleep ?? end;
    this.#linkState.enter(this.#scope.closed ? 'stopped' : asleep ? 'asleep' : 'waiting');
    if (end instanceof HolderGone) {
      this.lives.backoff.retryNow();
      this.#handover.retire(connection);
    } else await this.#close(connection);
    this.#lastTail = connection.transport.stderrTail();
    this.#connection = undefined;
    return end;
  }

  async #close(connection: Connection): Promise<void> {
    using deadline = this.#closing();
    await connection.close(deadline);
  }

  /** The transport's time to stop. */
  #closing(): Deadline {
    if (this.#stopping) return this.#stopping.sooner(this.#stopping.remainingMs() * CLOSE_SHARE);
    return this.#parts.runtime.deadline(this.#parts.limits.childTermMs * 3);
  }

  /** `peer`: socket of the worker to connect through. */
  #connect(peer?: string): Connection {
    const { runtime, limits, version, clientContext, toolHeaders, sharing } = this.#parts;
    const makeTransport =
      peer === undefined ? this.#parts.makeTransport : (sharing?.through(peer) ?? this.#parts.makeTransport);
    const connection: Connection = new Connection({
      ...{ runtime, limits, spec: this.#spec, version, makeTransport, clientContext, toolHeaders, sharing, peer },
      opening: this.opening,
      // A trial connection does not affect the state of the link.
      phase: (phase) => (this.#connection === connection ? this.#turn?.step(phase) : undefined),
      raise: (silenceMs) => this.#linkState.raise(silenceMs, () => publishRaised(runtime, this.#spec.slug, silenceMs)),
      isForward: this.#parts.kind === 'forward' || peer !== undefined,
      mayCancel: () => this.lives.mayCancel(),
      versionBefore: () => this.#linkState.hello?.version ?? this.#parts.spokenBefore(),
      listChanged: () => this.listChanged(),
      renewed: (hello) => {
        if (this.#connection !== connection) return;
        this.#linkState.hello = hello;
        connection.clientSide.met(hello);
        this.listChanged();
      },
    });
    return connection;
  }

  /** Schedules a reading of the lists. */
  listChanged(): void {
    if (this.#watch) this.#watch.listChanged();
    else this.#lists.isStale = true;
  }

  /** Returns why it was lost, or the connection that replaces it. */
  async #untilLost(connection: Connection, begin: () => Promise<void> | undefined): Promise<LifeEnd> {
    const { runtime, limits } = this.#parts;
    const end = Promise.withResolvers<LifeEnd>();
    void connection.lost.then(end.resolve);
    try {
      await begin();
      this.lives.ready();
      const list = () => this.#listAgain(connection);
      // A child has no session to lose, and a second one may not run beside the first.
      const isOurs = this.#parts.kind === 'remote' && connection.peer === undefined;
      const failing = () => isOurs && this.#handover.tryAnew(end.resolve);
      const about = { runtime, limits, scope: this.#scope, server: this.#spec.slug, connection };
      using watch = new ConnectionWatch({ ...about, failing, list, lists: this.#lists });
      this.#watch = watch;
      const tryOwn = () => this.#handover.tryAnew(end.resolve);
      using _ = watchHolder(this.#parts, connection, { gone: end.resolve, tryOwn });
      return await end.promise;
    } catch (thrown) {
      return faultOf(thrown, this.#parts.runtime, this.#spec.slug);
    } finally {
      this.#watch = undefined;
      this.#handover.stopTrial();
    }
  }

  async #open(connection: Connection): Promise<void> {
    const startMs = this.#parts.runtime.clock.nowMs();
    using turn = startTurn(this.#parts, connection.transport, (phase) => this.#linkState.step(phase));
    this.#turn = turn;
    const { hello, lists } = await connection.open();
    this.#turn = undefined;
    this.#becomeReady({ connection, hello, lists }, startMs);
  }

  /** `startMs` is undefined when the link was ready before, with another connection. */
  #becomeReady({ connection, hello, lists }: OpenedConnection, startMs?: number): undefined {
    const { runtime } = this.#parts;
    const nowMs = runtime.clock.nowMs();
    this.opening.changed(this.#linkState.hello, hello);
    this.#lists.keep(this.#spec, hello, lists, startMs === undefined);
    this.#linkState.becomeReady(hello);
    publishReady(runtime, this.#spec.slug, hello, lists.tools?.length ?? 0, nowMs - (startMs ?? nowMs));
    connection.clientSide.met(hello);
    this.#parts.ready();
  }

  /** Returns true when something has changed. */
  async #listAgain(connection: Connection): Promise<boolean> {
    const { runtime, limits } = this.#parts;
    const { hello } = this.#linkState;
    if (this.#linkState.state !== 'ready' || !hello) return false;
    using deadline = runtime.deadline(limits.listMs * limits.listPages);
    return this.#lists.keep(this.#spec, hello, await connection.list(hello, deadline), true);
  }
}

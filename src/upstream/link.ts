/**
 * The hub's lasting relation to one server: it connects, lists, watches, and connects again, with pauses that grow up to a cap.
 * Guarantees: `ready` follows a finished handshake and list; the last good lists outlive every outage; never two connections at once, but while a remote server
 * that answers with errors only is tried in a new session (once in 30 s), and while calls end in an old one.
 */
import type { Deadline } from '../kernel/deadline.ts';
import { HubError } from '../kernel/errors.ts';
import type { Outcome, Refusal } from '../kernel/outcome.ts';
import { Scope } from '../kernel/scope.ts';
import type { RawListing, ServerSpec } from '../kernel/snapshot.ts';
import type { ClientSide } from './_client-side.ts';
import { faultOf } from './_endings.ts';
import { Handover, type OpenedConnection } from './_handover.ts';
import { HeldElsewhere, HolderGone, watchHolder } from './_held-elsewhere.ts';
import { publishRaised, publishReady } from './_link-facts.ts';
import { LinkLists } from './_link-lists.ts';
import type { LinkParts } from './_link-parts.ts';
import { Lives } from './_lives.ts';
import { downRefusal, untilReady } from './_not-ready.ts';
import { OpeningMemory } from './_opening-memory.ts';
import { restAfter } from './_rest-after.ts';
import { type LinkView, Standing } from './_standing.ts';
import { type StartTurn, startTurn } from './_turn.ts';
import { Watch } from './_watch.ts';
import type { UpstreamCall, UpstreamReply } from './call.ts';
import { Connection } from './connection.ts';

/** The transport's part of the time to stop. */
const CLOSE_SHARE = 0.9;
type LifeEnd = HubError | OpenedConnection;

export class Link {
  readonly #parts: LinkParts;
  readonly #scope: Scope;
  readonly #standing: Standing;
  readonly lives: Lives;
  readonly opening: OpeningMemory;
  #spec: ServerSpec;
  #connection: Connection | undefined;
  readonly #handover: Handover;
  #turn: StartTurn | undefined;
  #watch: Watch | undefined;
  readonly #lists: LinkLists;
  #lastTail: readonly string[] = []; // bounded by: stderrTailBytes
  #stopping: Deadline | undefined;

  constructor(parts: LinkParts) {
    this.#parts = parts;
    this.#spec = parts.spec;
    this.#standing = new Standing(parts.kernel.clock);
    const before = () => parts.openingBefore?.();
    this.opening = new OpeningMemory(parts.kernel.clock, () => this.#spec.hash, before);
    this.lives = new Lives({ ...parts, server: parts.spec.slug, opening: this.opening });
    this.#lists = new LinkLists(parts.kernel, parts.listed, () => this.opening.learned);
    this.#scope = new Scope(`link ${parts.spec.slug}`, {
      faulted: (task, fault) => parts.kernel.bus.publish({ type: 'task-faulted', task, fault }),
      stuck: (task) => parts.kernel.bus.publish({ type: 'task-stuck', task }),
    });
    this.#handover = new Handover({
      ...{ kernel: parts.kernel, limits: parts.limits, scope: this.#scope, server: parts.spec.slug },
      connect: () => this.#connect(),
      closing: () => this.#closing(),
    });
  }

  /** The last good lists of this process's life. */
  get rawListing(): RawListing | undefined {
    return this.#lists.raw;
  }

  get view(): LinkView {
    return this.#standing.view;
  }
  get stderrTail(): readonly string[] {
    const tail = this.#connection?.transport.stderrTail() ?? [];
    return tail.length > 0 ? tail : this.#lastTail;
  }
  get shown(): Pick<Connection, 'pid' | 'notes' | 'peer' | 'correlator'> | undefined {
    return this.#connection;
  }

  /** This worker has a session with the server, is ready without one, or takes it over; false also where it goes through another worker. */
  get holdsSession(): boolean {
    const connection = this.#connection;
    if (this.#parts.kind !== 'remote' || connection?.peer !== undefined) return false;
    if (this.#parts.patienceMs !== undefined && this.#standing.isBeginning) return true;
    return this.#standing.state === 'ready' || connection?.transport.session?.isOpen === true;
  }

  /** Settings that need no reconnect have changed. */
  update(spec: ServerSpec): void {
    this.#spec = spec;
  }

  start(): void {
    if (this.#standing.state !== 'idle' || this.#scope.closed) return;
    this.#standing.enter('connecting');
    this.#scope.run('life', () => this.#live());
  }

  /** At once, whatever the rest; a running connection is given up. */
  restart(): void {
    this.#connection?.lose(new HubError('server-down', { message: `${this.#spec.slug} is being restarted.` }));
    this.lives.rest.hurry();
  }

  async stop(deadline: Deadline): Promise<void> {
    if (this.#standing.state === 'stopped') return;
    this.#standing.enter('stopped');
    this.#stopping = deadline;
    this.#turn?.[Symbol.dispose]();
    const fault = new HubError('server-down', { message: `${this.#spec.slug} was stopped.` });
    for (const held of [this.#connection, this.#handover]) held?.lose(fault);
    this.lives.rest.wake();
    await this.#scope.close(deadline);
    this.lives[Symbol.dispose]();
  }

  /** Whether the server lives, asked on the side; for a breaker that wants to close. Never rejects; ends within `pingMs`. */
  async isAlive(): Promise<boolean> {
    return this.#standing.state === 'ready' && (await this.#connection?.isAlive()) === true;
  }

  /** Ready now (undefined), or within `handshakeMs` (a promise), or why not. */
  whenReady(deadline: Deadline, owner: string): Outcome<undefined> | Promise<Outcome<undefined>> {
    if (this.#standing.state === 'ready') return undefined;
    const { state } = this.#standing;
    if (state !== 'connecting' && state !== 'idle' && !this.lives.wake(state)) return this.#down();
    return untilReady({ ...this.#parts, standing: this.#standing, spec: this.#spec }, deadline, owner);
  }

  /** `cut` = a deadline sooner than the call's own, with the setting it comes from. */
  send(
    call: UpstreamCall,
    cut?: { readonly deadline: Deadline; readonly setting: string },
  ): Outcome<UpstreamReply> | Promise<Outcome<UpstreamReply>> {
    if (this.#standing.state !== 'ready' || !this.#connection) return this.#down();
    const silenceMs = Math.max(call.times.silenceMs, this.#standing.raisedMs ?? 0);
    return this.#connection.send(call, { silenceMs, ...(cut ?? { deadline: call.deadline, setting: 'totalMs' }) });
  }

  /** To be told what has changed on the client side; undefined = the server is not there, and is told when it is. */
  get clientSide(): ClientSide | undefined {
    return this.#standing.state === 'ready' ? this.#connection?.clientSide : undefined;
  }
  /** A call has failed in a way that may mean that the server is gone: it is asked soon. `doAllFail` = so have the calls before it. */
  suspect(doAllFail: boolean): void {
    this.#watch?.suspect(doAllFail);
  }

  /** It has answered a call of a tool in its list that it has no such tool: the list is read again. */
  unknownTool(): void {
    this.#watch?.unknownTool();
  }

  readonly #down = (): Refusal => downRefusal(this.#spec.slug, this.view);

  async #live(): Promise<void> {
    while (!this.#scope.closed) {
      const fault = await this.#oneLife().catch((thrown: unknown) => {
        // A defect of ours must not end the link's life.
        const own = faultOf(thrown, this.#parts.kernel, this.#spec.slug);
        this.#standing.failed(own);
        return own;
      });
      if (this.#scope.closed) break;
      await restAfter(this.#parts, this.lives.rest, this.#standing, fault);
    }
    this.#parts.kernel.bus.publish({ type: 'server-stopped', server: this.#spec.slug, reason: 'asked' });
  }

  /** From opening to loss; the answer is why it ended. */
  async #oneLife(): Promise<HubError> {
    this.lives.begin();
    this.#lists.isStale = false;
    this.#standing.enter('connecting', this.#parts.kind === 'local' ? 'start' : 'connect');
    let connection = this.#connect();
    this.#connection = connection;
    let end = await this.#untilLost(connection, () => this.#open(connection));
    while (end instanceof HeldElsewhere || !(end instanceof HubError)) {
      const next = end;
      if (next instanceof HeldElsewhere) {
        this.#standing.enter('connecting', 'connect');
        await this.#close(connection);
      } else this.#handover.retire(connection);
      const own = next instanceof HeldElsewhere ? this.#connect(next.peer) : next.connection;
      this.#connection = connection = own;
      end = await this.#untilLost(own, () => ('hello' in next ? this.#becomeReady(next) : this.#open(own)));
    }
    if (!(end instanceof HolderGone)) connection.lose(end);
    const asleep = this.lives.ended(end, connection.lastCall, this.#parts.talk.subscriptions().length > 0);
    this.#standing.fault = asleep ?? end;
    this.#standing.enter(this.#scope.closed ? 'stopped' : asleep ? 'asleep' : 'waiting');
    if (end instanceof HolderGone) {
      this.lives.rest.hurry();
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
    return this.#parts.kernel.deadline(this.#parts.limits.childTermMs * 3);
  }

  /** `peer` = through the worker behind this socket. */
  #connect(peer?: string): Connection {
    const { kernel, limits, version, talk, toolHeaders, sharing } = this.#parts;
    const makeTransport =
      peer === undefined ? this.#parts.makeTransport : (sharing?.through(peer) ?? this.#parts.makeTransport);
    const connection: Connection = new Connection({
      ...{ kernel, limits, spec: this.#spec, version, makeTransport, talk, toolHeaders, sharing, peer },
      opening: this.opening,
      // One that is only tried says nothing of the link.
      phase: (phase) => (this.#connection === connection ? this.#turn?.step(phase) : undefined),
      raise: (silenceMs) => this.#standing.raise(silenceMs, () => publishRaised(kernel, this.#spec.slug, silenceMs)),
      isForward: this.#parts.kind === 'forward' || peer !== undefined,
      mayCancel: () => this.lives.mayCancel(),
      versionBefore: () => this.#standing.hello?.version ?? this.#parts.spokenBefore(),
      listChanged: () => this.listChanged(),
      renewed: (hello) => {
        if (this.#connection !== connection) return;
        this.#standing.hello = hello;
        connection.clientSide.met(hello);
        this.listChanged();
      },
    });
    return connection;
  }

  /** The lists are read again, soon. */
  listChanged(): void {
    if (this.#watch) this.#watch.listChanged();
    else this.#lists.isStale = true;
  }

  /** Why it was lost, or the connection that takes its place. */
  async #untilLost(connection: Connection, begin: () => Promise<void> | undefined): Promise<LifeEnd> {
    const { kernel, limits } = this.#parts;
    const end = Promise.withResolvers<LifeEnd>();
    void connection.lost.then(end.resolve);
    try {
      await begin();
      this.lives.ready();
      const list = () => this.#listAgain(connection);
      // A child has no session that could be lost, and a second one may not run beside the first.
      const isOurs = this.#parts.kind === 'remote' && connection.peer === undefined;
      const failing = () => isOurs && this.#handover.tryAnew(end.resolve);
      const about = { kernel, limits, scope: this.#scope, server: this.#spec.slug, connection };
      using watch = new Watch({ ...about, failing, list, lists: this.#lists });
      this.#watch = watch;
      const tryOwn = () => this.#handover.tryAnew(end.resolve);
      using _ = watchHolder(this.#parts, connection, { gone: end.resolve, tryOwn });
      return await end.promise;
    } catch (thrown) {
      return faultOf(thrown, this.#parts.kernel, this.#spec.slug);
    } finally {
      this.#watch = undefined;
      this.#handover.stopTrial();
    }
  }

  async #open(connection: Connection): Promise<void> {
    const startMs = this.#parts.kernel.clock.nowMs();
    using turn = startTurn(this.#parts, connection.transport, (phase) => this.#standing.step(phase));
    this.#turn = turn;
    const { hello, lists } = await connection.open();
    this.#turn = undefined;
    this.#becomeReady({ connection, hello, lists }, startMs);
  }

  /** `startMs` undefined = this life has been ready before, with another connection. */
  #becomeReady({ connection, hello, lists }: OpenedConnection, startMs?: number): undefined {
    const { kernel } = this.#parts;
    const nowMs = kernel.clock.nowMs();
    this.opening.changed(this.#standing.hello, hello);
    this.#lists.keep(this.#spec, hello, lists, startMs === undefined);
    this.#standing.becomeReady(hello);
    publishReady(kernel, this.#spec.slug, hello, lists.tools?.length ?? 0, nowMs - (startMs ?? nowMs));
    connection.clientSide.met(hello);
    this.#parts.ready();
  }

  /** True = something had changed. */
  async #listAgain(connection: Connection): Promise<boolean> {
    const { kernel, limits } = this.#parts;
    const { hello } = this.#standing;
    if (this.#standing.state !== 'ready' || !hello) return false;
    using deadline = kernel.deadline(limits.listMs * limits.listPages);
    return this.#lists.keep(this.#spec, hello, await connection.list(hello, deadline), true);
  }
}

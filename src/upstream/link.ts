/**
 * The hub's lasting relation to one server: it connects, lists, watches, and connects again, with pauses that grow up to a cap.
 * Guarantees: `ready` follows a finished handshake and list; the last good lists outlive every outage; never two connections at once.
 */
import type { Deadline } from '../kernel/deadline.ts';
import { HubError } from '../kernel/errors.ts';
import type { LinkPhase } from '../kernel/facts.ts';
import type { Outcome, Refusal } from '../kernel/outcome.ts';
import { Scope } from '../kernel/scope.ts';
import type { RawListing, ServerSpec } from '../kernel/snapshot.ts';
import type { ServerHello } from '../protocol/era-2025/initialize.ts';
import type { Bulkhead } from '../resilience/bulkhead.ts';
import type { ClientSide } from './_client-side.ts';
import { faultOf } from './_endings.ts';
import { downRefusal, untilReady } from './_not-ready.ts';
import { isSameListing, rawListingOf } from './_raw-listing.ts';
import { type LinkKind, Rest } from './_rest.ts';
import { type LinkView, Standing } from './_standing.ts';
import { StartTurn } from './_turn.ts';
import { Watch } from './_watch.ts';
import type { UpstreamCall, UpstreamReply } from './call.ts';
import { Connection, type ConnectionParts } from './connection.ts';
import type { ServerLists } from './list.ts';

/** `talk` = everybody, or one session (a lane). */
export interface LinkParts
  extends Pick<ConnectionParts, 'kernel' | 'limits' | 'spec' | 'version' | 'makeTransport' | 'talk' | 'toolHeaders'> {
  readonly kind: LinkKind;
  /** At most so many children load at once. */
  readonly startGate: Bulkhead;
  /** Who takes turns at the start gate with the others. Default: the server. */
  readonly startOwner?: string;
  /** The protocol version of an earlier process's life with the server; undefined = none is known. */
  readonly spokenBefore: () => string | undefined;
  /** `isSame` = nothing is new in it. */
  readonly listed: (raw: RawListing, isSame: boolean) => void;
  readonly ready: () => void;
}

/** A life that lasted this long was a good one: the next failure starts counting anew. */
const STABLE_MS = 60_000;
/** Of the time to stop: the transport's part, so that the link is done before its own time is up. */
const CLOSE_SHARE = 0.9;

export class Link {
  readonly #parts: LinkParts;
  readonly #scope: Scope;
  readonly #standing: Standing;
  readonly #rest: Rest;
  #spec: ServerSpec;
  #connection: Connection | undefined;
  #turn: StartTurn | undefined;
  #watch: Watch | undefined;
  /** The list changed while the first one of this life was being read. */
  #isListStale = false;
  #rawListing: RawListing | undefined;
  #lastTail: readonly string[] = []; // bounded by: stderrTailBytes
  #stopping: Deadline | undefined;

  constructor(parts: LinkParts) {
    this.#parts = parts;
    this.#spec = parts.spec;
    this.#standing = new Standing(parts.kernel.clock);
    this.#rest = new Rest(parts.kind);
    this.#scope = new Scope(`link ${parts.spec.slug}`, {
      faulted: (task, fault) => parts.kernel.bus.publish({ type: 'task-faulted', task, fault }),
      stuck: (task) => parts.kernel.bus.publish({ type: 'task-stuck', task }),
    });
  }

  /** The last good lists of this process's life. */
  get rawListing(): RawListing | undefined {
    return this.#rawListing;
  }

  get view(): LinkView {
    return this.#standing.view;
  }
  get stderrTail(): readonly string[] {
    const tail = this.#connection?.transport.stderrTail() ?? [];
    return tail.length > 0 ? tail : this.#lastTail;
  }

  get pid(): number | undefined {
    return this.#connection?.pid;
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
    this.#rest.hurry();
  }

  async stop(deadline: Deadline): Promise<void> {
    if (this.#standing.state === 'stopped') return;
    this.#standing.enter('stopped');
    this.#stopping = deadline;
    this.#turn?.[Symbol.dispose]();
    this.#connection?.lose(new HubError('server-down', { message: `${this.#spec.slug} was stopped.` }));
    this.#rest.wake();
    await this.#scope.close(deadline);
  }

  /** Whether the server lives, asked on the side; for a breaker that wants to close. Never rejects; ends within `pingMs`. */
  async isAlive(): Promise<boolean> {
    return this.#standing.state === 'ready' && this.#connection !== undefined && this.#connection.liveness.isAlive();
  }

  /** Ready now (undefined), or within `handshakeMs` (a promise), or why not. */
  whenReady(deadline: Deadline, owner: string): Outcome<undefined> | Promise<Outcome<undefined>> {
    if (this.#standing.state === 'ready') return undefined;
    if (this.#standing.state !== 'connecting' && this.#standing.state !== 'idle') return this.#down();
    const { kernel, limits } = this.#parts;
    const about = { kernel, limits, standing: this.#standing, spec: this.#spec };
    return untilReady(about, deadline, owner);
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

  /** A call has failed in a way that may mean that the server is gone: it is asked soon. */
  suspect(): void {
    this.#watch?.suspect();
  }

  readonly #down = (): Refusal => downRefusal(this.#spec.slug, this.view);

  async #live(): Promise<void> {
    while (!this.#scope.closed) {
      const fault = await this.#oneLife().catch((thrown: unknown) => this.#broken(thrown));
      if (this.#scope.closed) break;
      await this.#restAfter(fault);
    }
    this.#parts.kernel.bus.publish({ type: 'server-stopped', server: this.#spec.slug, reason: 'asked' });
  }

  /** From opening to loss; the answer is why it ended. */
  async #oneLife(): Promise<HubError> {
    this.#rest.begin();
    this.#isListStale = false;
    this.#standing.enter('connecting', this.#parts.kind === 'local' ? 'start' : 'connect');
    const connection = this.#connect();
    this.#connection = connection;
    const fault = await this.#untilLost(connection);
    connection.lose(fault);
    this.#standing.fault = fault;
    this.#standing.enter(this.#scope.closed ? 'stopped' : 'waiting');
    using deadline = this.#closing();
    await connection.close(deadline);
    this.#lastTail = connection.transport.stderrTail();
    this.#connection = undefined;
    return fault;
  }

  /** The transport's time to stop. */
  #closing(): Deadline {
    const { kernel, limits } = this.#parts;
    const stopping = this.#stopping;
    return stopping?.sooner(stopping.remainingMs() * CLOSE_SHARE) ?? kernel.deadline(limits.childTermMs * 3);
  }

  #connect(): Connection {
    const { kernel, limits, version, makeTransport, talk, toolHeaders } = this.#parts;
    return new Connection({
      ...{ kernel, limits, spec: this.#spec, version, makeTransport, talk, toolHeaders },
      phase: (phase) => this.#turn?.step(phase),
      raise: (silenceMs) => this.#raise(silenceMs),
      ...{
        isForward: this.#parts.kind === 'forward',
        versionBefore: () => this.#standing.hello?.version ?? this.#parts.spokenBefore(),
      },
      listChanged: () => this.listChanged(),
      renewed: (hello) => {
        this.#standing.hello = hello;
        this.#connection?.clientSide.met(hello);
        this.listChanged();
      },
    });
  }

  /** The lists are read again, soon. */
  listChanged(): void {
    if (this.#watch) this.#watch.listChanged();
    else this.#isListStale = true;
  }

  async #untilLost(connection: Connection): Promise<HubError> {
    const { kernel, limits } = this.#parts;
    let readyMs = kernel.clock.nowMs();
    try {
      await this.#open(connection);
      readyMs = kernel.clock.nowMs();
      const list = () => this.#listAgain(connection);
      using watch = new Watch({ kernel, limits, scope: this.#scope, server: this.#spec.slug, connection, list });
      this.#watch = watch;
      if (this.#isListStale) watch.listChanged();
      return await connection.lost;
    } catch (thrown) {
      return faultOf(thrown, this.#parts.kernel, this.#spec.slug);
    } finally {
      this.#watch = undefined;
      if (this.#standing.state === 'ready' && kernel.clock.nowMs() - readyMs >= STABLE_MS) this.#rest.forgive();
    }
  }

  /** A defect of ours, which must not end the link's life. */
  #broken(thrown: unknown): HubError {
    this.#standing.fault = faultOf(thrown, this.#parts.kernel, this.#spec.slug);
    this.#standing.enter('waiting');
    return this.#standing.fault;
  }

  async #open(connection: Connection): Promise<void> {
    const { kernel, kind, startGate } = this.#parts;
    const { slug: server } = this.#spec;
    const startMs = kernel.clock.nowMs();
    const gate = kind === 'local' ? startGate : undefined;
    const about = { kernel, gate, owner: this.#parts.startOwner ?? server, transport: connection.transport };
    using turn = new StartTurn({ ...about, entered: (phase) => this.#phaseEntered(phase) });
    this.#turn = turn;
    const { hello, lists } = await connection.open();
    this.#keep(hello, lists, false);
    // Read again in the background, with more time.
    if (lists.unread.some(({ late }) => late)) this.#isListStale = true;
    this.#standing.becomeReady(hello);
    kernel.bus.publish({
      ...{ type: 'server-became-ready', server },
      tools: lists.tools.length,
      ms: Math.round(kernel.clock.nowMs() - startMs),
      version: `${hello.name} ${hello.serverVersion} ${hello.version}`.trim(),
    });
    connection.clientSide.met(hello);
    this.#parts.ready();
  }

  #phaseEntered(phase: LinkPhase): void {
    this.#standing.step(phase);
    this.#parts.kernel.bus.publish({ type: 'server-phase-entered', server: this.#spec.slug, phase });
  }

  /** True = something had changed. */
  async #listAgain(connection: Connection): Promise<boolean> {
    const { kernel, limits } = this.#parts;
    const { hello, state } = this.#standing;
    if (state !== 'ready' || !hello) return false;
    using deadline = kernel.deadline(limits.listMs * limits.listPages);
    return this.#keep(hello, await connection.list(hello, deadline), true);
  }

  /** True = something is new. `isAgain` = this life has read them before. */
  #keep(hello: ServerHello, lists: ServerLists, isAgain: boolean): boolean {
    const before = this.#rawListing;
    const about = { spec: this.#spec, atMs: this.#parts.kernel.clock.wallMs() };
    this.#rawListing = rawListingOf({ ...about, hello, lists, before });
    const isSame = isAgain && isSameListing(before, this.#rawListing);
    this.#parts.listed(this.#rawListing, isSame);
    return !isSame;
  }

  #raise(silenceMs: number): void {
    if ((this.#standing.raisedMs ?? 0) >= silenceMs) return;
    this.#standing.raisedMs = silenceMs;
    this.#parts.kernel.bus.publish({ type: 'server-silence-raised', server: this.#spec.slug, silenceMs });
  }

  /** Waits until it is time to try again, or somebody asks for it. */
  async #restAfter({ code, message, detail }: HubError): Promise<void> {
    const { kernel, limits } = this.#parts;
    const retryMs = this.#rest.next(limits, kernel.random);
    this.#standing.rests(retryMs, this.#rest.failures);
    const { phase = '', reference } = detail;
    const about = { server: this.#spec.slug, phase, code, message, retryMs };
    kernel.bus.publish({ type: 'server-was-lost', ...about, ...(reference === undefined ? {} : { reference }) });
    await this.#rest.sleep(retryMs, kernel.timers);
  }
}

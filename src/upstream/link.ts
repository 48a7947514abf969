/**
 * The hub's lasting relation to one server: `idle connecting ready waiting stopped`. It connects, lists, watches, and connects again, for ever.
 * Promises: `ready` comes from a finished handshake and list only; the last good list outlives every outage; rests grow with jitter up to a
 * cap, a person's `restart` ends them; never two connections at once; `stop` leaves nothing.
 * Does not: limit or queue calls (`stack.ts`).
 */
import type { Limits } from '../config/limits.ts';
import { backoffMs } from '../kernel/backoff.ts';
import type { Deadline } from '../kernel/deadline.ts';
import { HubError } from '../kernel/errors.ts';
import type { LinkPhase, LinkState } from '../kernel/facts.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { isRefusal, type Outcome, Refusal } from '../kernel/outcome.ts';
import { Scope } from '../kernel/scope.ts';
import type { RawListing, ServerSpec } from '../kernel/snapshot.ts';
import type { ServerHello } from '../protocol/era-2025/initialize.ts';
import type { Bulkhead } from '../resilience/bulkhead.ts';
import type { UpstreamCall, UpstreamReply } from './call.ts';
import { Connection, isLocal } from './connection.ts';
import type { Transport, TransportEvents } from './transport.ts';

export interface LinkParts {
  readonly kernel: Kernel;
  readonly limits: Limits;
  readonly spec: ServerSpec;
  readonly version: string;
  readonly makeTransport: (spec: ServerSpec, events: TransportEvents) => Transport;
  /** At most so many children start at once. */
  readonly startGate: Bulkhead;
  readonly listed: (raw: RawListing) => void;
  readonly ready: () => void;
}

/** What is visible from outside. */
export interface LinkView {
  readonly state: LinkState;
  readonly phase: LinkPhase | undefined;
  readonly fault: HubError | undefined;
  readonly sinceMs: number;
  readonly retryMs: number | undefined;
  readonly restarts: number;
  readonly hello: ServerHello | undefined;
  readonly raisedMs: number | undefined;
  readonly inFlight: number;
}

/** A life that lasted this long was a good one: the next failure starts counting anew. */
const STABLE_MS = 60_000;
/** A child that dies at once is given longer rests: at most 8 starts in 5 minutes. */
const CRASH_LOOP = { factor: 4, capMs: 120_000 };
const QUEUE_MS = 600_000;
const RELIST = { firstMs: 250, againMs: 2000 };
const MISSES = 3;

export class Link {
  readonly #parts: LinkParts;
  readonly #scope: Scope;
  #spec: ServerSpec;
  #state: LinkState = 'idle';
  #phase: LinkPhase | undefined;
  #fault: HubError | undefined;
  #changedMs: number;
  #retryAtMs: number | undefined;
  #restarts = 0;
  #hello: ServerHello | undefined;
  #raisedMs: number | undefined;
  #connection: Connection | undefined;
  #rawListing: RawListing | undefined;
  /** Settles when `connecting` is over, one way or the other. */
  #settled = Promise.withResolvers<void>();
  #wake: (() => void) | undefined;
  #relisting = false;
  #listedMs = -Infinity;

  constructor(parts: LinkParts) {
    this.#parts = parts;
    this.#spec = parts.spec;
    this.#changedMs = parts.kernel.clock.nowMs();
    this.#scope = new Scope(`link ${parts.spec.slug}`, {
      faulted: (task, fault) => parts.kernel.bus.publish({ type: 'task-faulted', task, fault }),
      stuck: (task) => parts.kernel.bus.publish({ type: 'task-stuck', task }),
    });
  }

  /** The last good list of this process's life. */
  get rawListing(): RawListing | undefined {
    return this.#rawListing;
  }

  get view(): LinkView {
    const nowMs = this.#parts.kernel.clock.nowMs();
    return {
      state: this.#state,
      phase: this.#phase,
      fault: this.#fault,
      sinceMs: nowMs - this.#changedMs,
      retryMs: this.#retryAtMs === undefined ? undefined : Math.max(0, this.#retryAtMs - nowMs),
      restarts: this.#restarts,
      hello: this.#hello,
      raisedMs: this.#raisedMs,
      inFlight: this.#connection?.correlator.inFlight ?? 0,
    };
  }

  get stderrTail(): readonly string[] {
    return this.#connection?.transport.stderrTail() ?? this.#lastTail;
  }
  #lastTail: readonly string[] = []; // bounded by: stderrTailBytes

  get pid(): number | undefined {
    return (this.#connection?.transport as { pid?: number } | undefined)?.pid;
  }

  /** Settings that need no reconnect have changed. */
  update(spec: ServerSpec): void {
    this.#spec = spec;
  }

  start(): void {
    if (this.#state !== 'idle') return;
    this.#enter('connecting');
    this.#scope.run('life', () => this.#live());
  }

  /** At once, whatever the rest; a running connection is given up. */
  restart(): void {
    this.#restarts = 0;
    this.#connection?.lose(new HubError('server-down', { message: `${this.#spec.slug} is being restarted.` }));
    this.#wake?.();
  }

  async stop(deadline: Deadline): Promise<void> {
    if (this.#state === 'stopped') return;
    this.#enter('stopped');
    this.#connection?.lose(new HubError('server-down', { message: `${this.#spec.slug} was stopped.` }));
    this.#wake?.();
    await this.#scope.close(deadline);
  }

  /** Whether the server lives, asked on the side; for a breaker that wants to close. */
  async isAlive(): Promise<boolean> {
    return this.#state === 'ready' && this.#connection ? this.#connection.liveness.isAlive() : false;
  }

  /** Ready now (undefined), or soon (a promise), or why not. */
  whenReady(deadline: Deadline, owner: string): Outcome<undefined> | Promise<Outcome<undefined>> {
    if (this.#state === 'ready') return undefined;
    if (this.#state !== 'connecting' && this.#state !== 'idle') return this.#down();
    return this.#waitReady(deadline, owner);
  }

  send(call: UpstreamCall): Outcome<UpstreamReply> | Promise<Outcome<UpstreamReply>> {
    const connection = this.#connection;
    if (this.#state !== 'ready' || !connection) return this.#down();
    return connection.send(call, Math.max(call.times.silenceMs, this.#raisedMs ?? 0));
  }

  async #waitReady(deadline: Deadline, owner: string): Promise<Outcome<undefined>> {
    const { kernel, limits } = this.#parts;
    const startMs = kernel.clock.nowMs();
    using own = deadline.sooner(limits.handshakeMs);
    try {
      await kernel.waits.for(this.#settled.promise, { label: 'link-ready', owner, deadline: own });
    } catch {
      const waitedMs = Math.round(kernel.clock.nowMs() - startMs);
      const { slug } = this.#spec;
      const phase = this.#phase ?? 'connect';
      const setting = PHASE_SETTING[phase];
      const message = `${slug} is still in phase ${phase} after ${waitedMs} ms of waiting; it gets ${setting} for that.`;
      return new Refusal('server-starting', message, {
        server: slug,
        phase,
        waitedMs,
        setting,
        outcome: 'not-executed',
        retryAfterMs: 2000,
      });
    }
    return this.#now() === 'ready' ? undefined : this.#down();
  }

  /** The state after an await, which the compiler cannot see changing. */
  #now(): LinkState {
    return this.#state;
  }

  #down(): Refusal {
    const { slug } = this.#spec;
    const fault = this.#fault;
    const retryMs = this.view.retryMs;
    const next = retryMs === undefined ? '' : ` It is tried again in ${Math.ceil(retryMs / 1000)} s.`;
    const phase = String(fault?.detail.phase ?? this.#phase ?? 'connect');
    return new Refusal('server-down', `${slug} is not reachable: ${fault?.message ?? this.#state}.${next}`, {
      ...fault?.detail,
      server: slug,
      phase,
      outcome: 'not-executed',
      ...(fault ? { cause: fault.code } : {}),
      ...(retryMs === undefined ? {} : { retryAfterMs: Math.round(retryMs) }),
    });
  }

  #enter(state: LinkState, phase?: LinkPhase): void {
    if (this.#state !== state) this.#changedMs = this.#parts.kernel.clock.nowMs();
    const wasConnecting = this.#state === 'connecting' || this.#state === 'idle';
    this.#state = state;
    this.#phase = phase;
    if (state !== 'waiting') this.#retryAtMs = undefined;
    if (state === 'connecting' && !wasConnecting) this.#settled = Promise.withResolvers<void>();
    if (wasConnecting && state !== 'connecting') this.#settled.resolve();
  }

  async #live(): Promise<void> {
    while (!this.#scope.closed) {
      const connection = new Connection({
        kernel: this.#parts.kernel,
        limits: this.#parts.limits,
        spec: this.#spec,
        version: this.#parts.version,
        makeTransport: this.#parts.makeTransport,
        phase: (phase) => this.#phaseEntered(phase),
        raise: (silenceMs) => this.#raise(silenceMs),
        listChanged: () => this.#relistSoon(),
      });
      this.#connection = connection;
      this.#enter('connecting', 'connect');
      const fault = await this.#oneLife(connection);
      if (this.#scope.closed) break;
      await this.#rest(fault);
    }
    this.#parts.kernel.bus.publish({ type: 'server-stopped', server: this.#spec.slug, reason: 'asked' });
  }

  /** From opening to loss. Never rejects; the answer is why it ended. */
  async #oneLife(connection: Connection): Promise<HubError> {
    let readyMs: number | undefined;
    let fault: HubError;
    try {
      await this.#open(connection);
      readyMs = this.#parts.kernel.clock.nowMs();
      using watch = this.#watchIdle(connection);
      fault = await connection.lost;
      void watch;
    } catch (thrown) {
      fault = thrown instanceof HubError ? thrown : new HubError('internal', { cause: thrown });
      if (fault.code === 'internal')
        this.#parts.kernel.bus.publish({ type: 'task-faulted', task: `link ${this.#spec.slug}`, fault: thrown });
    }
    connection.lose(fault);
    this.#lastTail = connection.transport.stderrTail();
    const livedMs = readyMs === undefined ? 0 : this.#parts.kernel.clock.nowMs() - readyMs;
    this.#restarts = livedMs >= STABLE_MS ? 1 : this.#restarts + 1;
    this.#fault = fault;
    this.#enter(this.#scope.closed ? 'stopped' : 'waiting');
    using deadline = this.#parts.kernel.deadline(this.#parts.limits.childTermMs * 3);
    await connection.close(deadline);
    return fault;
  }

  async #open(connection: Connection): Promise<void> {
    const { kernel, limits, startGate } = this.#parts;
    const spec = this.#spec;
    const startMs = kernel.clock.nowMs();
    using turn = kernel.deadline(QUEUE_MS);
    const permit = isLocal(spec) ? await startGate.enter(turn, spec.slug) : undefined;
    if (isRefusal(permit)) throw new HubError('server-starting', { message: 'too many servers wait to be started' });
    this.#startPermit = permit;
    try {
      const budgetMs = isLocal(spec)
        ? (spec.installMs ?? limits.installMs) + (spec.startMs ?? limits.startMs)
        : limits.connectMs + limits.handshakeMs;
      using deadline = kernel.deadline(budgetMs);
      const hello = await connection.open(deadline);
      this.#hello = hello;
      this.#phaseEntered('list');
      await this.#list(connection, hello);
    } finally {
      permit?.[Symbol.dispose]();
    }
    this.#fault = undefined;
    this.#enter('ready');
    const version = `${hello(this.#hello)} ${this.#hello?.version ?? ''}`.trim();
    kernel.bus.publish({
      type: 'server-became-ready',
      server: spec.slug,
      tools: this.#rawListing?.tools.length ?? 0,
      ms: Math.round(kernel.clock.nowMs() - startMs),
      version,
    });
    this.#parts.ready();
  }
  #startPermit: Disposable | undefined;

  #phaseEntered(phase: LinkPhase): void {
    // An install takes minutes and has its own queue; others may start meanwhile.
    if (phase === 'install') this.#startPermit?.[Symbol.dispose]();
    if (this.#state === 'connecting') this.#phase = phase;
    this.#parts.kernel.bus.publish({ type: 'server-phase-entered', server: this.#spec.slug, phase });
  }

  async #list(connection: Connection, hello: ServerHello): Promise<void> {
    const { kernel, limits } = this.#parts;
    using deadline = kernel.deadline(limits.listMs * limits.listPages);
    const tools = hello.capabilities.tools === undefined ? [] : await connection.list(deadline);
    this.#listedMs = kernel.clock.nowMs();
    this.#rawListing = {
      server: this.#spec.slug,
      atMs: kernel.clock.wallMs(),
      tools,
      instructions: hello.instructions,
    };
    this.#parts.listed(this.#rawListing);
  }

  /** A changed list is read again, once for many notices, and never more often than every two seconds. */
  #relistSoon(): void {
    if (this.#relisting || this.#state !== 'ready') return;
    this.#relisting = true;
    const { kernel } = this.#parts;
    const restMs = Math.max(RELIST.firstMs, this.#listedMs + RELIST.againMs - kernel.clock.nowMs());
    kernel.timers.after(restMs, () => {
      this.#relisting = false;
      const [connection, hello] = [this.#connection, this.#hello];
      if (this.#state !== 'ready' || !connection || !hello) return;
      // A list that fails keeps the last good one; the next ping decides about the server.
      this.#scope.run('relist', () => this.#list(connection, hello).catch(() => {}));
    });
  }

  /** Asks now and then; three misses in a row and the connection is given up. One miss changes nothing. */
  #watchIdle(connection: Connection): Disposable {
    const { kernel, limits } = this.#parts;
    let misses = 0;
    return kernel.timers.every(
      limits.pingEveryMs,
      () =>
        this.#scope.run('ping', async () => {
          misses = (await connection.liveness.isAlive()) ? 0 : misses + 1;
          if (misses < MISSES) return;
          connection.lose(
            new HubError('upstream-silent', {
              message: `${this.#spec.slug} missed ${MISSES} pings.`,
              detail: { server: this.#spec.slug, phase: 'ping', setting: 'pingMs' },
            }),
          );
        }),
      0.1,
    );
  }

  #raise(silenceMs: number): void {
    if (this.#raisedMs !== undefined && this.#raisedMs >= silenceMs) return;
    this.#raisedMs = silenceMs;
    this.#parts.kernel.bus.publish({ type: 'server-silence-raised', server: this.#spec.slug, silenceMs });
  }

  /** Waits until it is time to try again, or somebody asks for it. */
  async #rest(fault: HubError): Promise<void> {
    const { kernel, limits } = this.#parts;
    const crashes = isLocal(this.#spec) && this.#restarts > 1;
    const rule = {
      baseMs: limits.restartBaseMs * (crashes ? CRASH_LOOP.factor : 1),
      capMs: crashes ? Math.max(CRASH_LOOP.capMs, limits.restartCapMs) : limits.restartCapMs,
    };
    const restMs =
      this.#restarts === 0 ? 0 : backoffMs(crashes ? this.#restarts - 1 : this.#restarts, rule, kernel.random);
    this.#retryAtMs = kernel.clock.nowMs() + restMs;
    const { code, message } = fault;
    kernel.bus.publish({
      type: 'server-was-lost',
      server: this.#spec.slug,
      code,
      message,
      retryMs: restMs,
      phase: String(fault.detail.phase ?? ''),
    });
    await new Promise<void>((resolve) => {
      const timer = kernel.timers.after(restMs, resolve);
      this.#wake = () => {
        timer[Symbol.dispose]();
        resolve();
      };
    });
    this.#wake = undefined;
  }
}

const PHASE_SETTING: Readonly<Record<LinkPhase, string>> = {
  install: 'installMs',
  start: 'startMs',
  connect: 'connectMs',
  handshake: 'handshakeMs',
  list: 'listMs',
};

function hello(from: ServerHello | undefined): string {
  return from ? `${from.name} ${from.serverVersion}` : '';
}

/**
 * The lasting relation to one server: connects, lists, watches, and reconnects with backoff up to a maximum delay.
 * Guarantees: `ready` follows a finished handshake and list; the last good lists are kept during every outage; there is
 * one connection, except during a trial of a new session (once in 30 s) and while calls end in a replaced one.
 *
 * Built from the bottom: state, memory, history and lists; connections (`link-connections.ts`); their replacement
 * (`connection-switch.ts`); the loop that runs them (`connection-loop.ts`).
 */

import { HubError } from '../../model/errors.ts';
import type { Outcome, Refusal } from '../../model/outcome.ts';
import type { RawListing, ServerSpec } from '../../model/snapshot.ts';
import type { Deadline } from '../../runtime/deadline.ts';
import { Scope } from '../../runtime/scope.ts';
import type { UpstreamCall, UpstreamReply } from '../call.ts';
import type { ClientSide } from '../connection/client-side.ts';
import type { Connection } from '../connection/connection.ts';
import { ConnectionHistory } from './connection-history.ts';
import { ConnectionLoop, stoppedFault } from './connection-loop.ts';
import { ConnectionSwitch } from './connection-switch.ts';
import { LinkConnections } from './link-connections.ts';
import { LinkLists } from './link-lists.ts';
import type { LinkParts } from './link-parts.ts';
import { LinkStateTracker, type LinkView } from './link-state.ts';
import { downRefusal, untilReady } from './not-ready.ts';
import { OpeningMemory } from './opening-memory.ts';

export class Link {
  readonly #parts: LinkParts;
  readonly #settings: { spec: ServerSpec };
  readonly #scope: Scope;
  readonly #state: LinkStateTracker;
  readonly lives: ConnectionHistory;
  readonly opening: OpeningMemory;
  readonly #lists: LinkLists;
  readonly #connections: LinkConnections;
  readonly #handover: ConnectionSwitch;
  readonly #loop: ConnectionLoop;

  constructor(parts: LinkParts) {
    const { runtime, limits, spec } = parts;
    const server = spec.slug;
    this.#parts = parts;
    const settings = { spec };
    this.#settings = settings;
    const scope = new Scope(`link ${server}`, {
      faulted: (task, fault) => runtime.bus.publish({ type: 'task-faulted', task, fault }),
      stuck: (task) => runtime.bus.publish({ type: 'task-stuck', task }),
    });
    const state = new LinkStateTracker(runtime.clock);
    const before = () => parts.openingBefore?.();
    const opening = new OpeningMemory(runtime.clock, () => settings.spec.hash, before);
    const history = new ConnectionHistory({ runtime, kind: parts.kind, server, opening });
    const lists = new LinkLists(runtime, parts.listed, opening);
    const connections = new LinkConnections({ link: parts, settings, state, history, opening, lists });
    const handover = new ConnectionSwitch({ runtime, limits, scope, server, connections, state });
    this.#loop = new ConnectionLoop({
      link: parts,
      settings,
      scope,
      state,
      history,
      opening,
      lists,
      connections,
      handover,
    });
    this.#scope = scope;
    this.#state = state;
    this.opening = opening;
    this.lives = history;
    this.#lists = lists;
    this.#connections = connections;
    this.#handover = handover;
  }

  /** The last good lists of this process. */
  get rawListing(): RawListing | undefined {
    return this.#lists.raw;
  }

  get view(): LinkView {
    return this.#state.view;
  }
  get stderrTail(): readonly string[] {
    return this.#state.stderrTail;
  }
  get shown(): Pick<Connection, 'pid' | 'notes' | 'peer' | 'correlator'> | undefined {
    return this.#state.connection;
  }

  /** True when this worker has, needs no, or takes over a session; false when it goes through another worker. */
  get holdsSession(): boolean {
    const { connection } = this.#state;
    if (this.#parts.kind !== 'remote' || connection?.peer !== undefined) return false;
    if (this.#parts.patienceMs !== undefined && this.#state.isBeginning) return true;
    return this.#state.stage.kind === 'ready' || connection?.transport.session?.isOpen === true;
  }

  /** Applies settings that require no reconnect. */
  update(spec: ServerSpec): void {
    this.#settings.spec = spec;
  }

  start(): void {
    if (this.#state.stage.kind !== 'idle' || this.#scope.closed) return;
    this.#state.begin();
    this.#scope.run('life', () => this.#loop.run());
  }

  /** Reconnects now, without backoff; ends the current connection. */
  restart(): void {
    const fault = new HubError('server-down', { message: `${this.#parts.spec.slug} is being restarted.` });
    this.#state.connection?.lose(fault);
    this.lives.backoff.retryNow();
  }

  async stop(deadline: Deadline): Promise<void> {
    const { stage, connection } = this.#state;
    if (stage.kind === 'stopped') return;
    this.#state.stop(deadline);
    if (stage.kind === 'opening') stage.turn[Symbol.dispose]();
    const fault = stoppedFault(this.#parts.spec.slug);
    for (const held of [connection, this.#handover]) held?.lose(fault);
    this.lives.backoff.wake();
    await this.#scope.close(deadline);
    this.lives[Symbol.dispose]();
  }

  /** Tells whether the server responds, for a circuit breaker that may close. Never rejects; ends within `pingMs`. */
  async isAlive(): Promise<boolean> {
    const { stage } = this.#state;
    return stage.kind === 'ready' && stage.connection.isAlive();
  }

  /** Returns undefined when ready, a promise that settles within `handshakeMs`, or the reason why it is not ready. */
  whenReady(deadline: Deadline, owner: string): Outcome<undefined> | Promise<Outcome<undefined>> {
    const { stage } = this.#state;
    switch (stage.kind) {
      case 'ready':
        return undefined;
      case 'ending':
      case 'backing-off':
        if (this.#parts.kind === 'forward') return this.#untilReady(deadline, owner);
        return this.lives.wake() ? this.#untilReady(deadline, owner) : this.#down();
      case 'asleep':
        return this.lives.wake() ? this.#untilReady(deadline, owner) : this.#down();
      case 'stopped':
        return this.#down();
      case 'idle':
      case 'starting':
      case 'opening':
      case 'left-to-holder':
        return this.#untilReady(deadline, owner);
    }
  }

  send(call: UpstreamCall): Outcome<UpstreamReply> | Promise<Outcome<UpstreamReply>> {
    const { stage } = this.#state;
    if (stage.kind !== 'ready') return this.#down();
    call.budget.allowSilence(this.#state.raisedMs ?? 0);
    return stage.connection.send(call);
  }

  /** Receives changes of the client side; undefined when there is no connection, which gets them when it is ready. */
  get clientSide(): ClientSide | undefined {
    const { stage } = this.#state;
    return stage.kind === 'ready' ? stage.connection.clientSide : undefined;
  }

  /** Probes the server soon after a suspicious call failure. `doAllFail`: the calls before it failed as well. */
  suspect(doAllFail: boolean): void {
    const { stage } = this.#state;
    if (stage.kind === 'ready') stage.watch?.suspect(doAllFail);
  }

  /** Reads the list again, because the server rejected a tool of its own list as unknown. */
  unknownTool(): void {
    const { stage } = this.#state;
    if (stage.kind === 'ready') stage.watch?.unknownTool();
  }

  /** Schedules a reading of the lists. */
  listChanged(): void {
    this.#connections.listChanged();
  }

  #untilReady(deadline: Deadline, owner: string): Promise<Outcome<undefined>> {
    const { runtime, limits, kind, patienceMs } = this.#parts;
    const link = { runtime, limits, kind, patienceMs, state: this.#state, spec: this.#settings.spec };
    return untilReady(link, deadline, owner);
  }

  #down(): Refusal {
    return downRefusal(this.#parts.spec.slug, this.view);
  }
}

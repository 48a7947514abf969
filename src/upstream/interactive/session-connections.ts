/**
 * One connection for each client session of a server that asks its users, so that a request has exactly one addressee.
 * Guarantees: a session's first call opens it with the client's capabilities; it closes after `laneIdleMs` without use,
 * with its session or the server. At `lanes` or `lanesPerKey` an idle one of the same key, or of a key that holds more,
 * is closed. A lost idle one reopens only when needed, after a backoff that its key keeps.
 */
import type { Limits } from '../../config/limits.ts';
import { isRefusal, type Outcome, Refusal } from '../../model/outcome.ts';
import type { ServerSpec } from '../../model/snapshot.ts';
import { CappedMap } from '../../runtime/capped.ts';
import type { Deadline } from '../../runtime/deadline.ts';
import type { OpenItem } from '../../runtime/open-item.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import { FairMap } from '../../runtime/shares.ts';
import type { UpstreamCall, UpstreamReply } from '../call.ts';
import { isLocal } from '../call-endings.ts';
import type { ClientContext, ConnectionOwner } from '../client-context.ts';
import type { Link } from '../link/link.ts';
import type { LinkView } from '../link/link-state.ts';
import { downRefusal } from '../link/not-ready.ts';
import type { UpstreamPipeline } from '../pipeline.ts';

export interface SessionConnectionsParts {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly spec: ServerSpec;
  /** Creates the link and the pipeline, not started yet. `share`: the key of the session. */
  readonly make: (
    clientContext: ClientContext,
    share: string,
  ) => { readonly link: Link; readonly pipeline: UpstreamPipeline };
  /** Requests that the shared link reads its lists again. */
  readonly listChanged: () => void;
}

/** The backoff of a session connection that was closed during it. */
interface ClosedConnection {
  readonly view: LinkView;
  readonly untilMs: number;
}

interface SessionConnection {
  readonly link: Link;
  readonly pipeline: UpstreamPipeline;
  usedMs: number;
  /** Calls on it, including those that wait until it is ready. */
  calls: number;
  /** From the newest call. */
  owner: ConnectionOwner;
  /** Ends it with the key of the newest call. */
  open: OpenItem;
  /** Changed lists that the session is told of next. */
  readonly changed: Set<string>; // bounded by: the kinds of lists
}

/** Notifications of one list within this time are one, ms. */
const TOGETHER_MS = 100;
const EMPTY = Buffer.from('{}');
const SWEEP_MS = 15_000;

export class SessionConnections {
  readonly #parts: SessionConnectionsParts;
  readonly #sessionConnections: FairMap<string, SessionConnection>;
  /** By key; the backoff of a lost session connection outlives it. */
  readonly #rests: CappedMap<string, ClosedConnection>;
  readonly #sweep: Disposable;
  #stopped = false;

  constructor(parts: SessionConnectionsParts) {
    this.#parts = parts;
    const { runtime, limits } = parts;
    const bounds = { max: () => limits.lanes, share: () => limits.lanesPerKey };
    this.#sessionConnections = new FairMap<string, SessionConnection>(
      'upstream.lanes',
      bounds,
      'refuse',
      runtime.ceilings,
    );
    this.#rests = new CappedMap('upstream.lane-rests', () => limits.lanes, 'drop-oldest', runtime.ceilings);
    this.#sweep = runtime.timers.every(SWEEP_MS, () => this.#reap());
  }

  get size(): number {
    return this.#sessionConnections.size;
  }

  call(call: UpstreamCall, owner: ConnectionOwner): Outcome<UpstreamReply> | Promise<Outcome<UpstreamReply>> {
    const sessionConnection = this.#sessionConnections.get(owner.id) ?? this.#open(owner);
    if (sessionConnection === undefined) return this.#full(owner);
    if (isRefusal(sessionConnection)) return sessionConnection;
    const { keyId } = owner.access.principal;
    if (sessionConnection.open.principal.keyId !== keyId) {
      const open = this.#register(owner);
      if (isRefusal(open)) return open;
      sessionConnection.open.close();
      sessionConnection.open = open;
    }
    sessionConnection.usedMs = this.#parts.runtime.clock.nowMs();
    sessionConnection.owner = owner;
    const outcome = sessionConnection.pipeline.call(call);
    if (!(outcome instanceof Promise)) return outcome;
    sessionConnection.calls += 1;
    return outcome.finally(() => {
      sessionConnection.calls -= 1;
    });
  }

  logLevelChanged(id: string): void {
    this.#sessionConnections.get(id)?.link.clientSide?.logLevelChanged();
  }

  rootsChanged(id: string): void {
    this.#sessionConnections.get(id)?.link.clientSide?.rootsChanged();
  }

  /** Closes the connection of a session that has ended. */
  end(id: string): void {
    const sessionConnection = this.#sessionConnections.get(id);
    if (sessionConnection) this.#close(id, sessionConnection);
  }

  /** Waits until no call is running, or the deadline ends. Never rejects. */
  async drain(deadline: Deadline): Promise<void> {
    await Promise.all(
      [...this.#sessionConnections.values()].map((sessionConnection) => sessionConnection.pipeline.drain(deadline)),
    );
  }

  /** Closes all session connections. Never rejects; ends by the deadline. */
  async stop(deadline: Deadline): Promise<void> {
    this.#stopped = true;
    this.#sweep[Symbol.dispose]();
    const all = [...this.#sessionConnections.values()];
    this.#sessionConnections.clear();
    await Promise.all(
      all.map((sessionConnection) => {
        sessionConnection.open.close();
        sessionConnection.pipeline.close();
        return sessionConnection.link.stop(deadline);
      }),
    );
    this.#sessionConnections[Symbol.dispose]();
    this.#rests[Symbol.dispose]();
  }

  #register({ id, access }: ConnectionOwner): Outcome<OpenItem> {
    const open = this.#parts.runtime.openWork.add('session-connection', access);
    if (isRefusal(open)) return open;
    open.uses(this.#parts.spec.slug, undefined);
    open.onEnd(() => this.end(id));
    return open;
  }

  /** Returns undefined when there is no room. */
  #open(owner: ConnectionOwner): Outcome<SessionConnection> | undefined {
    const closed = this.#rests.get(owner.share);
    const nowMs = this.#parts.runtime.clock.nowMs();
    if (closed && nowMs < closed.untilMs)
      return downRefusal(this.#parts.spec.slug, { ...closed.view, retryMs: closed.untilMs - nowMs });
    if (this.#stopped || !this.#makePlace(owner.share)) return undefined;
    const open = this.#register(owner);
    if (isRefusal(open)) return open;
    const { runtime, make } = this.#parts;
    const ref: { sessionConnection: SessionConnection | undefined } = { sessionConnection: undefined };
    const now = (): ConnectionOwner => ref.sessionConnection?.owner ?? owner;
    const clientContext: ClientContext = {
      capabilityBits: owner.capabilityBits,
      isStateless: owner.isStateless,
      lists: false,
      logLevel: () => now().logLevel(),
      subscriptions: () => now().subscriptions(this.#parts.spec.slug),
      notice: (method, params) => void now().notify(this.#parts.spec.slug, method, params),
      listChanged: (method) => ref.sessionConnection && this.#listChanged(ref.sessionConnection, method),
      ask: (asking) => now().ask(asking),
    };
    const sessionConnection: SessionConnection = {
      ...make(clientContext, owner.share),
      usedMs: runtime.clock.nowMs(),
      calls: 0,
      owner,
      open,
      changed: new Set(),
    };
    ref.sessionConnection = sessionConnection;
    this.#sessionConnections.set(owner.share, owner.id, sessionConnection);
    if (closed) sessionConnection.link.lives.backoff.resume(closed.view.deaths);
    this.#rests.delete(owner.share);
    sessionConnection.link.start();
    return sessionConnection;
  }

  #listChanged(sessionConnection: SessionConnection, method: string): void {
    const { runtime, spec, listChanged } = this.#parts;
    const { changed } = sessionConnection;
    listChanged();
    // A remote server also notifies the shared link, which notifies all clients.
    if (!isLocal(spec)) return;
    if (changed.size === 0)
      runtime.timers.after(TOGETHER_MS, () => {
        for (const one of changed) sessionConnection.owner.notify(spec.slug, one, EMPTY);
        changed.clear();
      });
    changed.add(method);
  }

  /** Returns true when this owner may open one; may close an idle one for it. */
  #makePlace(share: string): boolean {
    if (this.#sessionConnections.hasRoom(share)) return true;
    const mine = this.#sessionConnections.sizeOf(share);
    let idlest: [string, SessionConnection] | undefined;
    for (const entry of this.#sessionConnections.entries()) {
      const [, { owner, usedMs }] = entry;
      const mayGo = owner.share === share || this.#sessionConnections.sizeOf(owner.share) > mine;
      if (mayGo && isIdle(entry[1]) && (idlest === undefined || usedMs < idlest[1].usedMs)) idlest = entry;
    }
    if (idlest) this.#close(...idlest);
    return this.#sessionConnections.hasRoom(share);
  }

  #reap(): void {
    const { runtime, limits, spec } = this.#parts;
    const nowMs = runtime.clock.nowMs();
    for (const [id, sessionConnection] of [...this.#sessionConnections.entries()]) {
      // A session with subscriptions counts as active while notifications can reach it.
      const listens =
        sessionConnection.owner.hasStream() && sessionConnection.owner.subscriptions(spec.slug).length > 0;
      if (!isIdle(sessionConnection) || listens) sessionConnection.usedMs = nowMs;
      else if (nowMs - sessionConnection.usedMs > limits.laneIdleMs || sessionConnection.link.view.state === 'waiting')
        this.#close(id, sessionConnection);
    }
  }

  #close(id: string, sessionConnection: SessionConnection): void {
    const { runtime, limits, spec } = this.#parts;
    this.#sessionConnections.delete(id);
    const { view } = sessionConnection.link;
    if (view.state === 'waiting' && view.retryMs !== undefined)
      this.#rests.set(sessionConnection.owner.share, { view, untilMs: runtime.clock.nowMs() + view.retryMs });
    sessionConnection.open.close();
    sessionConnection.pipeline.close();
    runtime.scope.run(`stop lane of ${spec.slug}`, async () => {
      using deadline = runtime.deadline(limits.childTermMs * 4);
      await sessionConnection.link.stop(deadline);
    });
  }

  #full({ share }: ConnectionOwner): Refusal {
    const { spec, limits } = this.#parts;
    if (this.#sessionConnections.size < limits.lanes)
      return new Refusal(
        'server-busy',
        `${spec.slug} serves ${this.#sessionConnections.sizeOf(share)} sessions of this key at once, and each has a call in flight.`,
        { server: spec.slug, phase: 'queue', setting: 'lanesPerKey', outcome: 'not-executed', retryAfterMs: 1000 },
      );
    return new Refusal(
      'server-busy',
      `${spec.slug} serves ${limits.lanes} sessions at once, and each has a call in flight.`,
      { server: spec.slug, phase: 'queue', setting: 'lanes', outcome: 'not-executed', retryAfterMs: 1000 },
    );
  }
}

function isIdle(sessionConnection: SessionConnection): boolean {
  return sessionConnection.calls === 0;
}

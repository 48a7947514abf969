/**
 * The lanes of one server that asks its users: a connection of its own for each client session, so that a question has exactly one addressee.
 * Promises: a lane is opened by its session's first call, declares what that client declared, and is closed when it has been idle for
 * `laneIdleMs`, when the session ends, or with the server; at most `lanes` at once and `lanesPerKey` of one key, and then the one that has been
 * idle longest makes place: one of the same key, or of a key that holds more;
 * an idle lane that is lost is not opened again until it is needed, nor before its rest is over: the rest of a closed lane holds for its key; that a list has changed on a lane is told to the shared link, which reads it, and,
 * where each lane is a process of its own, to its session.
 * Does not: read lists (the shared link does) or know sessions (`call/` does).
 * Source: architecture.md §3, lanes.
 */
import type { Limits } from '../config/limits.ts';
import { CappedMap } from '../kernel/capped.ts';
import type { Deadline } from '../kernel/deadline.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { OpenItem } from '../kernel/open-work.ts';
import { isRefusal, type Outcome, Refusal } from '../kernel/outcome.ts';
import { FairMap } from '../kernel/shares.ts';
import type { ServerSpec } from '../kernel/snapshot.ts';
import { isLocal } from './_endings.ts';
import { downRefusal } from './_not-ready.ts';
import type { LinkView } from './_standing.ts';
import type { UpstreamCall, UpstreamReply } from './call.ts';
import type { Link } from './link.ts';
import type { Stack } from './stack.ts';
import type { LaneOwner, Talk } from './talk.ts';

export interface LanesParts {
  readonly kernel: Kernel;
  readonly limits: Limits;
  readonly spec: ServerSpec;
  /** Makes the link and what stands before it; not started yet. `share` = the key whose session it is. */
  readonly make: (talk: Talk, share: string) => { readonly link: Link; readonly stack: Stack };
  /** The shared link is to read its lists again. */
  readonly listChanged: () => void;
}

/** How a lane stood that was closed while it rested. */
interface ClosedLane {
  readonly view: LinkView;
  readonly untilMs: number;
}

interface Lane {
  readonly link: Link;
  readonly stack: Stack;
  usedMs: number;
  /** Calls on it, also those that wait until it is ready. */
  calls: number;
  /** As the newest call brought it. */
  owner: LaneOwner;
  /** Ends it with the key of the newest call. */
  open: OpenItem;
  /** Changed lists that the session is told of next. */
  readonly changed: Set<string>; // bounded by: the kinds of lists
}

/** Notices of one list within this time are one, ms. */
const TOGETHER_MS = 100;
const EMPTY = Buffer.from('{}');
const SWEEP_MS = 15_000;

export class Lanes {
  readonly #parts: LanesParts;
  readonly #lanes: FairMap<string, Lane>;
  /** By key; the rest of a lane that was lost outlives the lane. */
  readonly #rests: CappedMap<string, ClosedLane>;
  readonly #sweep: Disposable;
  #stopped = false;

  constructor(parts: LanesParts) {
    this.#parts = parts;
    const { kernel, limits } = parts;
    const bounds = { max: limits.lanes, share: limits.lanesPerKey };
    this.#lanes = new FairMap<string, Lane>('upstream.lanes', bounds, 'refuse', kernel.ceilings);
    this.#rests = new CappedMap('upstream.lane-rests', limits.lanes, 'drop-oldest', kernel.ceilings);
    this.#sweep = kernel.timers.every(SWEEP_MS, () => this.#reap());
  }

  get size(): number {
    return this.#lanes.size;
  }

  call(call: UpstreamCall, owner: LaneOwner): Outcome<UpstreamReply> | Promise<Outcome<UpstreamReply>> {
    const lane = this.#lanes.get(owner.id) ?? this.#open(owner);
    if (lane === undefined) return this.#full(owner);
    if (isRefusal(lane)) return lane;
    const { keyId } = owner.access.principal;
    if (lane.open.principal.keyId !== keyId) {
      const open = this.#register(owner);
      if (isRefusal(open)) return open;
      lane.open.close();
      lane.open = open;
    }
    lane.usedMs = this.#parts.kernel.clock.nowMs();
    lane.owner = owner;
    const outcome = lane.stack.call(call);
    if (!(outcome instanceof Promise)) return outcome;
    lane.calls += 1;
    return outcome.finally(() => {
      lane.calls -= 1;
    });
  }

  logLevelChanged(id: string): void {
    this.#lanes.get(id)?.link.clientSide?.logLevelChanged();
  }

  rootsChanged(id: string): void {
    this.#lanes.get(id)?.link.clientSide?.rootsChanged();
  }

  /** The session has ended. */
  end(id: string): void {
    const lane = this.#lanes.get(id);
    if (lane) this.#close(id, lane);
  }

  /** Waits until no call is inside, or the deadline ends. Never rejects. */
  async drain(deadline: Deadline): Promise<void> {
    await Promise.all([...this.#lanes.values()].map((lane) => lane.stack.drain(deadline)));
  }

  /** Ends all lanes. Never rejects; ends by the deadline. */
  async stop(deadline: Deadline): Promise<void> {
    this.#stopped = true;
    this.#sweep[Symbol.dispose]();
    const all = [...this.#lanes.values()];
    this.#lanes.clear();
    await Promise.all(
      all.map((lane) => {
        lane.open.close();
        lane.stack.close();
        return lane.link.stop(deadline);
      }),
    );
    this.#lanes[Symbol.dispose]();
    this.#rests[Symbol.dispose]();
  }

  #register({ id, access }: LaneOwner): Outcome<OpenItem> {
    const open = this.#parts.kernel.openWork.add('session-connection', access);
    if (isRefusal(open)) return open;
    open.uses(this.#parts.spec.slug, undefined);
    open.onEnd(() => this.end(id));
    return open;
  }

  /** Undefined = no place is left. */
  #open(owner: LaneOwner): Outcome<Lane> | undefined {
    const closed = this.#rests.get(owner.share);
    const nowMs = this.#parts.kernel.clock.nowMs();
    if (closed && nowMs < closed.untilMs)
      return downRefusal(this.#parts.spec.slug, { ...closed.view, retryMs: closed.untilMs - nowMs });
    if (this.#stopped || !this.#makePlace(owner.share)) return undefined;
    const open = this.#register(owner);
    if (isRefusal(open)) return open;
    const { kernel, make } = this.#parts;
    const ref: { lane: Lane | undefined } = { lane: undefined };
    const now = (): LaneOwner => ref.lane?.owner ?? owner;
    const talk: Talk = {
      ...{ capabilityBits: owner.capabilityBits, isStateless: owner.isStateless },
      lists: false,
      logLevel: () => now().logLevel(),
      subscriptions: () => now().subscriptions(this.#parts.spec.slug),
      notice: (method, params) => void now().notify(this.#parts.spec.slug, method, params),
      listChanged: (method) => ref.lane && this.#listChanged(ref.lane, method),
      ask: (asking) => now().ask(asking),
    };
    const lane: Lane = {
      ...make(talk, owner.share),
      usedMs: kernel.clock.nowMs(),
      calls: 0,
      owner,
      open,
      changed: new Set(),
    };
    ref.lane = lane;
    this.#lanes.set(owner.share, owner.id, lane);
    if (closed) lane.link.lives.rest.resume(closed.view.deaths);
    this.#rests.delete(owner.share);
    lane.link.start();
    return lane;
  }

  #listChanged(lane: Lane, method: string): void {
    const { kernel, spec, listChanged } = this.#parts;
    const { changed } = lane;
    listChanged();
    // A remote server says it to the shared link too, and everybody is told from there.
    if (!isLocal(spec)) return;
    if (changed.size === 0)
      kernel.timers.after(TOGETHER_MS, () => {
        for (const one of changed) lane.owner.notify(spec.slug, one, EMPTY);
        changed.clear();
      });
    changed.add(method);
  }

  /** True = a lane of this owner may be opened; an idle one may have been closed for it. */
  #makePlace(share: string): boolean {
    if (this.#lanes.hasRoom(share)) return true;
    const mine = this.#lanes.sizeOf(share);
    let idlest: [string, Lane] | undefined;
    for (const entry of this.#lanes.entries()) {
      const [, { owner, usedMs }] = entry;
      const mayGo = owner.share === share || this.#lanes.sizeOf(owner.share) > mine;
      if (mayGo && isIdle(entry[1]) && (idlest === undefined || usedMs < idlest[1].usedMs)) idlest = entry;
    }
    if (idlest) this.#close(...idlest);
    return this.#lanes.hasRoom(share);
  }

  #reap(): void {
    const { kernel, limits, spec } = this.#parts;
    const nowMs = kernel.clock.nowMs();
    for (const [id, lane] of [...this.#lanes.entries()]) {
      // A session that listens to updates is at work too, for as long as it can hear them.
      const listens = lane.owner.isHeard() && lane.owner.subscriptions(spec.slug).length > 0;
      if (!isIdle(lane) || listens) lane.usedMs = nowMs;
      else if (nowMs - lane.usedMs > limits.laneIdleMs || lane.link.view.state === 'waiting') this.#close(id, lane);
    }
  }

  #close(id: string, lane: Lane): void {
    const { kernel, limits, spec } = this.#parts;
    this.#lanes.delete(id);
    const { view } = lane.link;
    if (view.state === 'waiting' && view.retryMs !== undefined)
      this.#rests.set(lane.owner.share, { view, untilMs: kernel.clock.nowMs() + view.retryMs });
    lane.open.close();
    lane.stack.close();
    kernel.scope.run(`stop lane of ${spec.slug}`, async () => {
      using deadline = kernel.deadline(limits.childTermMs * 4);
      await lane.link.stop(deadline);
    });
  }

  #full({ share }: LaneOwner): Refusal {
    const { spec, limits } = this.#parts;
    if (this.#lanes.size < limits.lanes)
      return new Refusal(
        'server-busy',
        `${spec.slug} serves ${this.#lanes.sizeOf(share)} sessions of this key at once, and each has a call inside.`,
        { server: spec.slug, phase: 'queue', setting: 'lanesPerKey', outcome: 'not-executed', retryAfterMs: 1000 },
      );
    return new Refusal(
      'server-busy',
      `${spec.slug} serves ${limits.lanes} sessions at once, and each has a call inside.`,
      { server: spec.slug, phase: 'queue', setting: 'lanes', outcome: 'not-executed', retryAfterMs: 1000 },
    );
  }
}

function isIdle(lane: Lane): boolean {
  return lane.calls === 0;
}

/**
 * The servers of a worker, each with its link, pipeline and session connections.
 * Guarantees: the next process of a server starts when the one before it has ended; a server above the limit `servers`
 * is reported, and not started.
 */
import { Refusal } from '../model/outcome.ts';
import type { RawListing, ServerSpec } from '../model/snapshot.ts';
import { Bulkhead } from '../resilience/bulkhead.ts';
import { CappedMap } from '../runtime/capped.ts';
import type { Deadline } from '../runtime/deadline.ts';
import { type ClientContext, LISTER } from './client-context.ts';
import { Departures } from './departures.ts';
import { ToolHeaders } from './era-2026/tool-headers.ts';
import { sessionConnectionMaker } from './interactive/session-connection-maker.ts';
import { SessionConnections } from './interactive/session-connections.ts';
import { Link } from './link/link.ts';
import { UpstreamPipeline } from './pipeline.ts';
import type { ServerRegistryParts } from './registry-types.ts';
import type { ServerPlacement } from './server-placement.ts';

/** Limits that decide what of a list is read. */
const LIST_LIMITS = ['serverTools', 'listingBytes', 'listPages', 'schemaBytes', 'descriptionBytes'] as const;

export interface Member {
  readonly spec: ServerSpec;
  readonly link: Link;
  readonly pipeline: UpstreamPipeline;
  /** Set for a server that asks its users. */
  readonly sessionConnections: SessionConnections | undefined;
}

export class ServerMembers {
  readonly #parts: ServerRegistryParts;
  readonly #placement: ServerPlacement;
  readonly #members: CappedMap<string, Member>;
  readonly #departures: Departures;
  readonly #startGate: Bulkhead;
  #listeners: readonly ((raw: RawListing) => void)[] = []; // bounded by: the modules that listen
  #stopped = false;

  constructor(parts: ServerRegistryParts, placement: ServerPlacement) {
    const { runtime, limits } = parts;
    this.#parts = parts;
    this.#placement = placement;
    this.#members = new CappedMap<string, Member>('upstream.servers', () => limits.servers, 'refuse', runtime.ceilings);
    this.#departures = new Departures(runtime, limits);
    this.#startGate = new Bulkhead({
      inside: () => limits.starting,
      waiting: () => limits.servers,
      refusal: () => new Refusal('server-starting'),
    });
    let before = this.#listLimits();
    runtime.ceilings.onResize(() => {
      this.#startGate.admit();
      const now = this.#listLimits();
      if (now !== before) this.#listAgain();
      before = now;
    });
  }

  /** Builds the lists again, and reads them: other rows may be read or shown. */
  #listAgain(): void {
    for (const { link } of this.all) {
      const raw = link.rawListing;
      if (raw !== undefined) for (const listener of this.#listeners) listener(raw);
      link.listChanged();
    }
  }

  #listLimits(): string {
    return LIST_LIMITS.map((name) => this.#parts.limits[name]).join();
  }

  get isStopped(): boolean {
    return this.#stopped;
  }

  get(slug: string): Member | undefined {
    return this.#members.get(slug);
  }

  get all(): readonly Member[] {
    return [...this.#members.values()];
  }

  onListed(listener: (raw: RawListing) => void): void {
    this.#listeners = [...this.#listeners, listener];
  }

  /** Adopts settings that require no reconnect. */
  update(member: Member, spec: ServerSpec): void {
    member.link.update(spec);
    this.#members.set(spec.slug, { ...member, spec });
  }

  /** `patienceMs`: how long calls wait for it; undefined for the time of any server that starts. */
  add(spec: ServerSpec, patienceMs?: number): void {
    const { runtime, limits } = this.#parts;
    const member = this.#create(spec, patienceMs);
    if (this.#members.set(spec.slug, member)) return this.#start(member, patienceMs !== undefined);
    const fault = `more than ${limits.servers} servers; raise the limit servers`;
    runtime.bus.publish({ type: 'task-faulted', task: `server ${spec.slug}`, fault });
  }

  /** Settles when it has stopped. */
  remove(slug: string): Promise<void> | undefined {
    const member = this.#members.get(slug);
    if (!member) return undefined;
    this.#members.delete(slug);
    return this.#departures.begin(slug, member);
  }

  async stop(deadline: Deadline): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    const { all } = this;
    this.#members.clear();
    await Promise.all([
      ...this.#departures.endNow(),
      ...all.map((member) => {
        member.pipeline.close();
        return Promise.all([member.link.stop(deadline), member.sessionConnections?.stop(deadline)]);
      }),
    ]);
  }

  #create(spec: ServerSpec, patienceMs: number | undefined): Member {
    const { runtime, limits, version, spokenBefore, openingBefore } = this.#parts;
    const placement = this.#placement;
    const toolHeaders = new ToolHeaders();
    const link: Link = new Link({
      runtime,
      limits,
      spec,
      kind: placement.kindOf(spec),
      makeTransport: (own, events) => placement.makeTransport(own, events),
      startGate: this.#startGate,
      toolHeaders,
      spokenBefore: () => spokenBefore(spec.slug),
      version,
      clientContext: this.#clientContextOf(spec),
      sharing: placement.sharingOf(spec),
      patienceMs,
      openingBefore: () => openingBefore?.(spec.slug),
      listed: (raw, isSame) => {
        // Also when this link uses the 2025 era: session connections to a server of both eras may use the newer one.
        if (spec.transport.kind !== 'stdio') toolHeaders.learn(raw.tools ?? []);
        // A replaced link may still be reading.
        if (!isSame && this.get(spec.slug)?.link === link) for (const listener of this.#listeners) listener(raw);
      },
      ready: () => pipeline.becameReady(),
    });
    const pipeline: UpstreamPipeline = new UpstreamPipeline({ runtime, limits, spec, link });
    const sessionConnections = spec.interactive ? this.#sessionConnectionsOf(spec, toolHeaders) : undefined;
    return { spec, link, pipeline, sessionConnections };
  }

  #start({ spec, link }: Member, isPatient: boolean): void {
    const { runtime, handover } = this.#parts;
    const kind = this.#placement.kindOf(spec);
    const isTakenOver = kind === 'remote' && isPatient;
    const before = kind === 'local' || isTakenOver ? this.#departures.of(spec.slug) : [];
    if (before.length === 0) return link.start();
    // Two processes of one server could conflict over its port or files, and a single session is granted only once.
    runtime.scope.run(`replace ${spec.slug}`, async () => {
      await Promise.all(before);
      await handover?.released(spec.slug);
      if (!this.#stopped && this.get(spec.slug)?.link === link) link.start();
    });
  }

  /**
   * Returns the shared link's client side; for a server that asks its users, subscriptions go over session connections.
   */
  #clientContextOf({ slug: server, interactive }: ServerSpec): ClientContext {
    const { everybody } = this.#parts;
    return {
      ...(interactive ? LISTER : { capabilityBits: 0 }),
      lists: true,
      logLevel: () => (interactive ? undefined : everybody.logLevel(server)),
      subscriptions: () => everybody.subscriptions(server),
      notice: (method, params) => everybody.notice(server, method, params),
    };
  }

  #sessionConnectionsOf(spec: ServerSpec, toolHeaders: ToolHeaders): SessionConnections {
    const { runtime, limits, version, makeTransport, spokenBefore, openingBefore } = this.#parts;
    const make = sessionConnectionMaker({
      runtime,
      limits,
      spec,
      version,
      startGate: this.#startGate,
      toolHeaders,
      makeTransport: (own, events) => makeTransport(own, events, false),
      spoken: () => this.get(spec.slug)?.link.view.hello?.version ?? spokenBefore(spec.slug),
      openingBefore: () => this.get(spec.slug)?.link.opening.learned ?? openingBefore?.(spec.slug),
    });
    const listChanged = () => this.get(spec.slug)?.link.listChanged();
    return new SessionConnections({ runtime, limits, spec, make, listChanged });
  }
}

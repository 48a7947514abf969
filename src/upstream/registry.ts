/**
 * All servers of a worker and their links; `apply` brings them in line with the configuration.
 * Guarantees: a server whose digest is unchanged keeps its connection, process and calls; a changed one is replaced, a
 * removed one drained and stopped; servers start in parallel, at most `starting` children at a time; a failing server
 * does not affect others; `stop` ends everything by its deadline.
 */

import { Refusal } from '../model/outcome.ts';
import type { RawListing, ServerSpec } from '../model/snapshot.ts';
import { Bulkhead } from '../resilience/bulkhead.ts';
import { CappedMap } from '../runtime/capped.ts';
import type { Deadline } from '../runtime/deadline.ts';
import { isLocal } from './call-endings.ts';
import { type ClientContext, LISTER } from './client-context.ts';
import { isCall } from './connection/correlator.ts';
import { Departures } from './departures.ts';
import { ToolHeaders } from './era-2026/tool-headers.ts';
import { sessionConnectionMaker } from './interactive/session-connection-maker.ts';
import { SessionConnections } from './interactive/session-connections.ts';
import type { SessionSharing } from './link/held-elsewhere.ts';
import { Link } from './link/link.ts';
import type { LinkKind } from './link/reconnect-backoff.ts';
import { statusOf } from './link-status.ts';
import { UpstreamPipeline } from './pipeline.ts';
import type { ServerRegistry, ServerRegistryParts } from './registry-types.ts';
import { startBudget } from './start-budget.ts';
import { createForwardTransport } from './transport/peer/forward.ts';
import type { Transport, TransportEvents } from './transport/transport.ts';

export type { ServerRegistry, ServerRegistryParts };

interface Member {
  readonly spec: ServerSpec;
  readonly link: Link;
  readonly pipeline: UpstreamPipeline;
  /** Set for a server that asks its users. */
  readonly sessionConnections: SessionConnections | undefined;
}

export function createServerRegistry(parts: ServerRegistryParts): ServerRegistry {
  const { runtime, limits } = parts;
  const about = { runtime, limits, slot: parts.slot };
  const members = new CappedMap<string, Member>('upstream.servers', () => limits.servers, 'refuse', runtime.ceilings);
  const departures = new Departures(runtime, limits);
  let disabled: readonly ServerSpec[] = []; // bounded by: the configuration's servers
  let listeners: readonly ((raw: RawListing) => void)[] = []; // bounded by: the rooms that listen
  /** Servers whose session other workers have asked for: they allow one. */
  const sharedSessions = new Set<string>(); // bounded by: servers
  let stopped = false;
  const startGate = new Bulkhead({
    inside: () => limits.starting,
    waiting: () => limits.servers,
    refusal: () => new Refusal('server-starting'),
  });

  const isAtHome = (spec: ServerSpec): boolean => isLocal(spec) && (spec.homeHub === parts.slot || spec.homeHub === 0);

  function kindOf(spec: ServerSpec): LinkKind {
    if (!isLocal(spec)) return parts.handover?.isGiven(spec.slug) ? 'forward' : 'remote';
    return isAtHome(spec) && parts.handover?.runsAt(spec.slug) === undefined ? 'local' : 'forward';
  }

  function makeTransport(spec: ServerSpec, events: TransportEvents): Transport {
    if (kindOf(spec) !== 'forward') return parts.makeTransport(spec, events, true);
    const isOfThisPlace = isAtHome(spec) || !isLocal(spec);
    const socketPath = (isOfThisPlace && parts.handover?.runsAt(spec.slug)) || parts.peerSocket(spec.homeHub);
    return createForwardTransport({ runtime, limits, spec, socketPath, events });
  }

  /**
   * Returns the shared link's client side; for a server that asks its users, subscriptions go over session connections.
   */
  function clientContextOf({ slug: server, interactive }: ServerSpec): ClientContext {
    const { everybody } = parts;
    return {
      ...(interactive ? LISTER : { capabilityBits: 0 }),
      lists: true,
      logLevel: () => (interactive ? undefined : everybody.logLevel(server)),
      subscriptions: () => everybody.subscriptions(server),
      notice: (method, params) => everybody.notice(server, method, params),
    };
  }

  function sharingOf(spec: ServerSpec): SessionSharing | undefined {
    const { holders } = parts;
    if (!holders || kindOf(spec) !== 'remote') return undefined;
    return {
      find: (deadline) => holders.find(spec, deadline),
      isHeldAt: (peer, deadline) => holders.isHeldAt(peer, spec, deadline),
      through: (socketPath) => (own, events) =>
        createForwardTransport({ runtime, limits, spec: own, socketPath, events }),
    };
  }

  function sessionConnectionsOf(spec: ServerSpec, toolHeaders: ToolHeaders): SessionConnections {
    const { version } = parts;
    const makeTransport = (own: ServerSpec, events: TransportEvents) => parts.makeTransport(own, events, false);
    const spoken = () => members.get(spec.slug)?.link.view.hello?.version ?? parts.spokenBefore(spec.slug);
    const openingBefore = () => members.get(spec.slug)?.link.opening.learned ?? parts.openingBefore?.(spec.slug);
    const about = { runtime, limits, spec, version, startGate, toolHeaders, makeTransport, spoken, openingBefore };
    const make = sessionConnectionMaker(about);
    const listChanged = () => members.get(spec.slug)?.link.listChanged();
    return new SessionConnections({ runtime, limits, spec, make, listChanged });
  }

  /** `patienceMs`: how long calls wait for it; undefined for the time of any server that starts. */
  function add(spec: ServerSpec, patienceMs?: number): void {
    const kind = kindOf(spec);
    const toolHeaders = new ToolHeaders();
    const spokenBefore = () => parts.spokenBefore(spec.slug);
    const openingBefore = () => parts.openingBefore?.(spec.slug);
    const link: Link = new Link({
      runtime,
      limits,
      spec,
      kind,
      makeTransport,
      startGate,
      toolHeaders,
      spokenBefore,
      version: parts.version,
      clientContext: clientContextOf(spec),
      sharing: sharingOf(spec),
      patienceMs,
      openingBefore,
      listed: (raw, isSame) => {
        // Also when this link uses the 2025 era: session connections to a server of both eras may use the newer one.
        if (spec.transport.kind !== 'stdio') toolHeaders.learn(raw.tools ?? []);
        // A replaced link may still be reading.
        if (!isSame && members.get(spec.slug)?.link === link) for (const listener of listeners) listener(raw);
      },
      ready: () => pipeline.becameReady(),
    });
    const pipeline: UpstreamPipeline = new UpstreamPipeline({ runtime, limits, spec, link });
    const sessionConnections = spec.interactive ? sessionConnectionsOf(spec, toolHeaders) : undefined;
    if (!members.set(spec.slug, { spec, link, pipeline, sessionConnections })) {
      const fault = `more than ${limits.servers} servers; raise the limit servers`;
      runtime.bus.publish({ type: 'task-faulted', task: `server ${spec.slug}`, fault });
      return;
    }
    const isTakenOver = kind === 'remote' && patienceMs !== undefined;
    const before = kind === 'local' || isTakenOver ? departures.of(spec.slug) : [];
    if (before.length === 0) {
      link.start();
      return;
    }
    // Two processes of one server could conflict over its port or files, and a single session is granted only once.
    runtime.scope.run(`replace ${spec.slug}`, async () => {
      await Promise.all(before);
      await parts.handover?.released(spec.slug);
      if (!stopped && members.get(spec.slug)?.link === link) link.start();
    });
  }

  function remove(slug: string): Promise<void> | undefined {
    const member = members.get(slug);
    if (!member) return undefined;
    members.delete(slug);
    sharedSessions.delete(slug);
    return departures.begin(slug, member);
  }

  async function move(slug: string): Promise<void> {
    const spec = members.get(slug)?.spec;
    const gone = remove(slug);
    // Its process served a moment ago: calls wait for the next one rather than fail.
    if (spec) add(spec, spec.startMs ?? limits.startMs);
    await gone;
  }

  /** Tells whether its only session is held by the worker that this one replaces. */
  function goesThroughPredecessor({ link }: Member): boolean {
    const peer = link.shown?.peer;
    return peer !== undefined && peer === parts.handover?.predecessor;
  }

  const isElsewhere = (member: Member): boolean =>
    isAtHome(member.spec) ? kindOf(member.spec) === 'forward' : goesThroughPredecessor(member);

  /** Tells whether this worker has its process, or the session that other workers have asked for. */
  const isHere = ({ spec, link }: Member): boolean =>
    isAtHome(spec) ? kindOf(spec) === 'local' : sharedSessions.has(spec.slug) && link.holdsSession;

  function apply(servers: readonly ServerSpec[]): void {
    if (stopped) return;
    disabled = servers.filter((spec) => !spec.enabled);
    const wanted = new Map(servers.filter((spec) => spec.enabled).map((spec) => [spec.slug, spec])); // bounded by: servers
    for (const slug of [...members.keys()]) if (!wanted.has(slug)) void remove(slug);
    for (const spec of wanted.values()) {
      const member = members.get(spec.slug);
      if (member && isSame(member.spec, spec)) {
        member.link.update(spec);
        members.set(spec.slug, { ...member, spec });
        continue;
      }
      if (member) void remove(spec.slug);
      add(spec);
    }
  }

  function missing(slug: string): Refusal {
    if (disabled.some((spec) => spec.slug === slug))
      return new Refusal('server-disabled', undefined, { server: slug, outcome: 'not-executed' });
    return new Refusal('server-down', `There is no server ${slug} in this hub.`, {
      server: slug,
      outcome: 'not-executed',
    });
  }

  async function stop(deadline: Deadline): Promise<void> {
    if (stopped) return;
    stopped = true;
    const all = [...members.values()];
    members.clear();
    await Promise.all([
      ...departures.hurry(),
      ...all.map((member) => {
        member.pipeline.close();
        return Promise.all([member.link.stop(deadline), member.sessionConnections?.stop(deadline)]);
      }),
    ]);
  }

  return {
    name: 'fleet',
    apply,
    async start() {},
    stop,
    call(slug, call) {
      const member = members.get(slug);
      if (!member) return missing(slug);
      return member.sessionConnections && call.sessionConnection
        ? member.sessionConnections.call(call, call.sessionConnection())
        : member.pipeline.call(call);
    },
    whenReady(slug, deadline, owner) {
      const member = members.get(slug);
      return member ? member.link.whenReady(deadline, owner) : missing(slug);
    },
    statuses: () => [
      ...[...members.values()].map((member) => statusOf(member, about)),
      ...disabled.map((spec) => statusOf({ spec }, about)),
    ],
    status(slug) {
      const member = members.get(slug) ?? disabled.filter((spec) => spec.slug === slug).map((spec) => ({ spec }))[0];
      return member && statusOf(member, about);
    },
    logLevelChanged(slug, connectionId) {
      const member = members.get(slug);
      if (connectionId === undefined) member?.link.clientSide?.logLevelChanged();
      else member?.sessionConnections?.logLevelChanged(connectionId);
    },
    subscribed: (slug, uri, isWanted) => members.get(slug)?.link.clientSide?.subscribed(uri, isWanted),
    subscriptionsAdded: (slug, uris) => members.get(slug)?.link.clientSide?.subscriptionsAdded(uris),
    preferencesChanged: (slug) => members.get(slug)?.link.clientSide?.preferencesChanged(),
    rootsChanged(id) {
      for (const { sessionConnections } of members.values()) sessionConnections?.rootsChanged(id);
    },
    sessionEnded(id) {
      for (const { sessionConnections } of members.values()) sessionConnections?.end(id);
    },
    relist() {
      for (const { link } of members.values()) link.listChanged();
    },
    restart(slug) {
      const member = members.get(slug);
      if (!member) return missing(slug);
      member.link.restart();
      return undefined;
    },
    heldElsewhere: () => [...members.values()].filter(isElsewhere).map(({ spec }) => spec.slug),
    runningHere: () =>
      Object.fromEntries(
        [...members.values()]
          .filter(isHere)
          .map(({ spec, pipeline }) => [spec.slug, pipeline.queue.inside + pipeline.queue.waiting]),
      ),
    hasCallsFrom: (slug, sinceMs) =>
      members.get(slug)?.link.shown?.correlator.newest((call) => isCall(call) && call.sentMs < sinceMs) !== undefined,
    move,
    holdsSession({ slug, hash }) {
      const member = members.get(slug);
      const isHeld = member?.spec.hash === hash && member.link.holdsSession;
      if (isHeld) sharedSessions.add(slug);
      return isHeld;
    },
    stderrTail: (slug) => members.get(slug)?.link.stderrTail ?? [],
    onListed(listener) {
      listeners = [...listeners, listener];
    },
    rawListing: (slug) => members.get(slug)?.link.rawListing,
    startBudget: (slug, tool) => startBudget(members.get(slug)?.spec, tool, parts),
  };
}

/** Tells whether nothing has changed that a connection depends on. */
function isSame(a: ServerSpec, b: ServerSpec): boolean {
  return a.hash === b.hash && a.homeHub === b.homeHub && a.inFlight === b.inFlight;
}

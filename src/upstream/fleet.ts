/**
 * All links of a hub: which servers there should be, applied by difference.
 * Promises: a server whose digest is unchanged keeps its connection, process and calls; a changed one is replaced, a removed one drained and
 * stopped; all start in parallel, of children at most `starting` load at once; one server's trouble is nobody else's; `stop` ends everything by its
 * deadline.
 * Does not: merge lists (`catalog/`) or know who calls.
 */
import type { Limits } from '../config/limits.ts';
import { CappedMap } from '../kernel/capped.ts';
import type { Deadline } from '../kernel/deadline.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { type Outcome, Refusal } from '../kernel/outcome.ts';
import type { Service } from '../kernel/service.ts';
import type { RawListing, ServerSpec } from '../kernel/snapshot.ts';
import { Bulkhead } from '../resilience/bulkhead.ts';
import { Departures } from './_departures.ts';
import { isLocal } from './_endings.ts';
import { laneMaker } from './_lane-maker.ts';
import { resolvedTimes } from './_resolved-times.ts';
import type { LinkKind } from './_rest.ts';
import { ToolHeaders } from './_tool-headers.ts';
import type { ResolvedTimes, UpstreamCall, UpstreamReply } from './call.ts';
import { Lanes } from './lanes.ts';
import { Link } from './link.ts';
import { Stack } from './stack.ts';
import type { ServerStatus } from './status.ts';
import { statusOf } from './status-of.ts';
import { type Everybody, LISTER, type Talk } from './talk.ts';
import type { Transport, TransportEvents } from './transport.ts';
import { createForwardTransport } from './transports/forward.ts';
import type { WorkerHandover } from './worker-handover.ts';

export interface FleetParts {
  readonly kernel: Kernel;
  readonly limits: Limits;
  readonly version: string;
  /** This hub's slot; a local server whose home is another hub is reached through that hub. */
  readonly slot: number;
  /** Private socket of a sibling hub. */
  readonly peerSocket: (slot: number) => string;
  /** Where processes of servers run while this worker is replaced, or replaces another. */
  readonly handover?: Pick<WorkerHandover, 'runsAt' | 'released'> | undefined;
  /** Who is on the client side of all shared links. */
  readonly everybody: Everybody;
  /** The protocol version that a hub spoke with a server when it last read its lists; undefined = not known. */
  readonly spokenBefore: (slug: string) => string | undefined;
  /** Makes the transport of a server that lives here or is remote. */
  readonly makeTransport: (spec: ServerSpec, events: TransportEvents) => Transport;
}

export interface Fleet extends Service {
  /** The servers there should be from now on. */
  apply(servers: readonly ServerSpec[]): void;
  /** A call with a `lane` goes through that session's own connection, when the server is one that asks its users. */
  call(slug: string, call: UpstreamCall): Outcome<UpstreamReply> | Promise<Outcome<UpstreamReply>>;
  /** A session's or everybody's log level has changed. */
  logLevelChanged(slug: string, laneId: string | undefined): void;
  /** A session's call has (un)subscribed the shared link of a server to a resource. */
  subscribed(slug: string, uri: string, isWanted: boolean): void;
  /** Sessions have subscribed to these resources of a server: its shared link subscribes to those that are new to it, now. */
  subscriptionsAdded(slug: string, uris: readonly string[]): void;
  /** What sessions want of a server has changed elsewhere: its shared link is told what it does not know yet. */
  wishesChanged(slug: string): void;
  /** The client of a session has other roots: servers that have asked for them ask again. */
  rootsChanged(id: string): void;
  /** A session has ended: its lanes close. */
  sessionEnded(id: string): void;
  /** Undefined = ready; else why not. Waits a little for a server that is coming up. */
  whenReady(slug: string, deadline: Deadline, owner: string): Outcome<undefined> | Promise<Outcome<undefined>>;
  statuses(): readonly ServerStatus[];
  status(slug: string): ServerStatus | undefined;
  /** Reads the lists of all servers that are ready again, soon. */
  relist(): void;
  /** Servers whose process another worker of this place runs. */
  heldElsewhere(): readonly string[];
  /** Calls inside and queued, of the servers whose process this worker runs. */
  runningHere(): Readonly<Record<string, number>>;
  /** A server's process runs, from now on, where `handover` says. Settles when what this worker had of it has ended. Never rejects. */
  move(slug: string): Promise<void>;
  /** Connects again, now. */
  restart(slug: string): Outcome<undefined>;
  stderrTail(slug: string): readonly string[];
  onListed(listener: (raw: RawListing) => void): void;
  rawListing(slug: string): RawListing | undefined;
  /** Times of a call to this tool: the tool's, else the server's, else the hub's. Undefined = not a tool. */
  timesOf(slug: string, native: string | undefined): ResolvedTimes;
}

interface Member {
  readonly spec: ServerSpec;
  readonly link: Link;
  readonly stack: Stack;
  /** Of a server that asks its users. */
  readonly lanes: Lanes | undefined;
}

export function createFleet(parts: FleetParts): Fleet {
  const { kernel, limits } = parts;
  const about = { kernel, limits, slot: parts.slot };
  const members = new CappedMap<string, Member>('upstream.servers', limits.servers, 'refuse', kernel.ceilings);
  const departures = new Departures(kernel, limits);
  let disabled: readonly ServerSpec[] = []; // bounded by: the configuration's servers
  let listeners: readonly ((raw: RawListing) => void)[] = []; // bounded by: the rooms that listen
  let stopped = false;
  const startGate = new Bulkhead({
    inside: limits.starting,
    waiting: limits.servers,
    refusal: () => new Refusal('server-starting'),
  });

  const isAtHome = (spec: ServerSpec): boolean => isLocal(spec) && (spec.homeHub === parts.slot || spec.homeHub === 0);

  function kindOf(spec: ServerSpec): LinkKind {
    if (!isLocal(spec)) return 'remote';
    return isAtHome(spec) && parts.handover?.runsAt(spec.slug) === undefined ? 'local' : 'forward';
  }

  function makeTransport(spec: ServerSpec, events: TransportEvents): Transport {
    if (kindOf(spec) !== 'forward') return parts.makeTransport(spec, events);
    const socketPath = (isAtHome(spec) && parts.handover?.runsAt(spec.slug)) || parts.peerSocket(spec.homeHub);
    return createForwardTransport({ kernel, limits, spec, socketPath, events });
  }

  /** What sessions want of a server that asks its users goes by their lanes. */
  function talkOf({ slug: server, interactive }: ServerSpec): Talk {
    const { everybody } = parts;
    return {
      ...(interactive ? LISTER : { capabilityBits: 0 }),
      lists: true,
      logLevel: () => (interactive ? undefined : everybody.logLevel(server)),
      subscriptions: () => everybody.subscriptions(server),
      notice: (method, params) => everybody.notice(server, method, params),
    };
  }

  function lanesOf(spec: ServerSpec, toolHeaders: ToolHeaders): Lanes {
    const { version, makeTransport } = parts;
    const spoken = () => members.get(spec.slug)?.link.view.hello?.version ?? parts.spokenBefore(spec.slug);
    const make = laneMaker({ kernel, limits, spec, version, startGate, toolHeaders, makeTransport, spoken });
    const listChanged = () => members.get(spec.slug)?.link.listChanged();
    return new Lanes({ kernel, limits, spec, make, listChanged });
  }

  /** `patienceMs` = how long calls wait for it; undefined = as for any that starts. */
  function add(spec: ServerSpec, patienceMs?: number): void {
    const kind = kindOf(spec);
    const toolHeaders = new ToolHeaders();
    const spokenBefore = () => parts.spokenBefore(spec.slug);
    const link: Link = new Link({
      ...{ kernel, limits, spec, kind, makeTransport, startGate, toolHeaders, spokenBefore, version: parts.version },
      ...{ talk: talkOf(spec), patienceMs },
      listed: (raw, isSame) => {
        // Also where this link speaks the 2025 dates: the lanes of a server of both eras may speak the newer.
        if (spec.transport.kind !== 'stdio') toolHeaders.learn(raw.tools ?? []);
        // A replaced link may still be reading.
        if (!isSame && members.get(spec.slug)?.link === link) for (const listener of listeners) listener(raw);
      },
      ready: () => stack.becameReady(),
    });
    const stack: Stack = new Stack({ kernel, limits, spec, link });
    const lanes = spec.interactive ? lanesOf(spec, toolHeaders) : undefined;
    if (!members.set(spec.slug, { spec, link, stack, lanes })) {
      const fault = `more than ${limits.servers} servers; raise the limit servers`;
      kernel.bus.publish({ type: 'task-faulted', task: `server ${spec.slug}`, fault });
      return;
    }
    const before = kind === 'local' ? departures.of(spec.slug) : [];
    if (before.length === 0) {
      link.start();
      return;
    }
    // Two processes of one server could fight for its port or its files.
    kernel.scope.run(`replace ${spec.slug}`, async () => {
      await Promise.all(before);
      await parts.handover?.released(spec.slug);
      if (!stopped && members.get(spec.slug)?.link === link) link.start();
    });
  }

  function remove(slug: string): Promise<void> | undefined {
    const member = members.get(slug);
    if (!member) return undefined;
    members.delete(slug);
    return departures.begin(slug, member);
  }

  async function move(slug: string): Promise<void> {
    const spec = members.get(slug)?.spec;
    const gone = remove(slug);
    // Its process served a moment ago: calls wait for the next one rather than fail.
    if (spec) add(spec, spec.startMs ?? limits.startMs);
    await gone;
  }

  const atHome = (kind: LinkKind): Member[] =>
    [...members.values()].filter(({ spec }) => isAtHome(spec) && kindOf(spec) === kind);

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
        member.stack.close();
        return Promise.all([member.link.stop(deadline), member.lanes?.stop(deadline)]);
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
      return member.lanes && call.lane ? member.lanes.call(call, call.lane()) : member.stack.call(call);
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
    logLevelChanged(slug, laneId) {
      const member = members.get(slug);
      if (laneId === undefined) member?.link.clientSide?.logLevelChanged();
      else member?.lanes?.logLevelChanged(laneId);
    },
    subscribed: (slug, uri, isWanted) => members.get(slug)?.link.clientSide?.subscribed(uri, isWanted),
    subscriptionsAdded: (slug, uris) => members.get(slug)?.link.clientSide?.subscriptionsAdded(uris),
    wishesChanged: (slug) => members.get(slug)?.link.clientSide?.wishesChanged(),
    rootsChanged(id) {
      for (const { lanes } of members.values()) lanes?.rootsChanged(id);
    },
    sessionEnded(id) {
      for (const { lanes } of members.values()) lanes?.end(id);
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
    heldElsewhere: () => atHome('forward').map(({ spec }) => spec.slug),
    runningHere: () =>
      Object.fromEntries(atHome('local').map(({ spec, stack }) => [spec.slug, stack.inFlight + stack.queued])),
    move,
    stderrTail: (slug) => members.get(slug)?.link.stderrTail ?? [],
    onListed(listener) {
      listeners = [...listeners, listener];
    },
    rawListing: (slug) => members.get(slug)?.link.rawListing,
    timesOf: (slug, native) => resolvedTimes(members.get(slug)?.spec, native, limits),
  };
}

/** Nothing has changed that a connection depends on. */
function isSame(a: ServerSpec, b: ServerSpec): boolean {
  return a.hash === b.hash && a.homeHub === b.homeHub && a.inFlight === b.inFlight;
}

/**
 * Composes the modules of one worker in start order, without a process around them. Does not import store, control or
 * admin.
 * Guarantees: nothing runs before `start`; `stop` drains and ends everything within its time limits; tests can use a
 * worker with `await using`.
 */
import { join } from 'node:path';
import type { Admission } from '../admission/gate.ts';
import { createAdmission } from '../admission/gate.ts';
import { createKeyAuthenticator } from '../auth/key-authenticator.ts';
import { createTrustedProxies } from '../auth/trusted-proxies.ts';
import { createLateNames } from '../call/late-names.ts';
import { createRequestPipeline } from '../call/pipeline.ts';
import { createQuestions } from '../call/questions.ts';
import { resolveView } from '../call/resolve-view.ts';
import { everybodyOf } from '../call/updates.ts';
import { createCatalog } from '../catalog/catalog.ts';
import { buildListingInTurns } from '../catalog/listing.ts';
import type { CurrentLimits } from '../config/current-limits.ts';
import { limitsFrom, limitValues } from '../config/limits.ts';
import { Bodies } from '../downstream/bodies.ts';
import { createEndpoint } from '../downstream/endpoint.ts';
import { createForward } from '../downstream/forward.ts';
import { createLegacySse } from '../downstream/legacy-sse.ts';
import { createHttpClasses, createListener, type Listener } from '../downstream/listener.ts';
import { Pacing } from '../downstream/pacing.ts';
import { createPeerWorkers } from '../downstream/peer-workers.ts';
import { createRefusalTraces } from '../downstream/refusal-trace.ts';
import { createRouter } from '../downstream/router.ts';
import { createSessionAffinity } from '../downstream/session-affinity.ts';
import { createSlowReaders } from '../downstream/slow-reader.ts';
import { createStreams, type Streams } from '../downstream/streams.ts';
import { createWorkerSocket } from '../downstream/worker-socket.ts';
import { createHealth, type Health } from '../health/health.ts';
import type { Listing, RawListing, Snapshot, SnapshotHolder } from '../model/snapshot.ts';
import { frontSocketName, type Heartbeat, socketName, WORKERS_SOCKET } from '../model/supervisor-messages.ts';
import type { KeysFrame } from '../relay/keys-messages.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { waitSummary } from '../runtime/wait-summary.ts';
import { createKeyRing } from '../seal/key-ring.ts';
import { createSessionPreferences } from '../session/preferences.ts';
import { createResumableStreams } from '../session/resumable-streams.ts';
import { createSessions, type Sessions } from '../session/sessions.ts';
import { createFailureLog } from '../telemetry/failure-log.ts';
import type { Gauges } from '../telemetry/loop-gauge.ts';
import { createPeerEndpoint } from '../upstream/peer/peer-endpoint.ts';
import { createServerRegistry, type ServerRegistry } from '../upstream/registry.ts';
import { SessionHolders } from '../upstream/single-session/session-holders.ts';
import { publicStatus } from '../upstream/status.ts';
import type { WorkerHandover } from '../upstream/worker-handover.ts';
import { type AccessWatch, watchAccess } from './access-watch.ts';
import { Balancers } from './balancers.ts';
import { createCatalogBuild, isSameShape } from './catalog-build.ts';
import { notifyOfListChanges } from './list-changes.ts';
import { listedEvent } from './listed-event.ts';
import { OwnLists } from './own-lists.ts';
import { watchPressure } from './pressure-watch.ts';
import { createSessionRecords, type SessionRecords } from './session-records.ts';
import type { TransportMaker } from './transport-factory.ts';

export interface WorkerPartsOptions {
  readonly runtime: Runtime;
  readonly currentLimits: CurrentLimits;
  readonly slot: number;
  readonly version: string;
  readonly runDir: string;
  readonly snapshots: SnapshotHolder;
  readonly secrets: readonly Buffer[];
  readonly makeTransport: TransportMaker;
  /** Handover with the worker that this one replaces, and with its own replacement. */
  readonly handover: WorkerHandover;
  /** Socket of the worker that this one replaces; undefined when there is none. */
  readonly predecessor: string | undefined;
  readonly gauges: () => Gauges;
  readonly counts: () => Readonly<Record<string, number>>;
  readonly controlConnected: () => boolean;
  readonly keysAgeMs: () => number | undefined;
  /** Token for the control process's socket; undefined while there is none. */
  readonly workerToken: () => string | undefined;
  /** Passes a new listing of a server to control. */
  readonly listed: (listing: Listing) => void;
  /** The catalog was built from this snapshot, which contains this worker's newest lists; saves it to the file. */
  readonly built: (world: Snapshot) => void;
  readonly lastFacts: () => string;
}

export interface WorkerParts {
  readonly snapshots: SnapshotHolder;
  readonly registry: ServerRegistry;
  readonly sessions: Sessions;
  readonly health: Health;
  readonly admission: Admission;
  readonly streams: Streams;
  /** Connections of clients. */
  readonly front: Listener;
  /** The private socket. */
  readonly privateFront: Listener;
  /** Applies a newer snapshot. */
  take(snapshot: Snapshot, source: 'control' | 'disk'): void;
  /** Applies newer keys. */
  takeKeys(frame: KeysFrame): void;
  readonly access: AccessWatch;
  readonly sessionRecords: SessionRecords;
  takeUsedKeys(): string[];
  readonly balancers: Balancers;
  /** Returns the newest listing of a server, or undefined when there is none yet. */
  listing(server: string): Listing | undefined;
}

const LISTING_MS = 10_000;

export function createWorkerParts(options: WorkerPartsOptions): WorkerParts {
  const { runtime, currentLimits, slot, version, runDir, snapshots, workerToken } = options;
  const { limits } = currentLimits;
  const seals = createKeyRing(options.secrets);
  const sessions = createSessions({ runtime, limits, keyRing: seals });
  const pressure = watchPressure(runtime, options.gauges);
  const admission = createAdmission({ runtime, limits, pressure });
  const failures = createFailureLog(runtime, () => limits.servers);
  const keys = createKeyAuthenticator({ runtime, limits, snapshots });
  const catalog = createCatalog({ runtime, limits });
  const preferences = createSessionPreferences({ runtime, limits });
  const peerSocket = (peer: number) => join(runDir, socketName('hub', peer));
  const { predecessor } = options;
  const others = (): readonly string[] => {
    const slots = Array.from({ length: limits.workers }, (_, at) => at + 1);
    const sockets = slots.filter((other) => other !== slot).map(peerSocket);
    return predecessor === undefined ? sockets : [predecessor, ...sockets];
  };
  const holders = new SessionHolders({ runtime, others, predecessor });
  const registry = createServerRegistry({
    runtime,
    limits,
    version,
    slot,
    ...{ peerSocket, handover: options.handover, holders },
    spokenBefore: (slug) => own.listing(slug)?.spoken,
    openingBefore: (slug) => own.listing(slug)?.opening,
    makeTransport: options.makeTransport,
    everybody: everybodyOf({ runtime, limits, sessions, preferences, snapshots }),
  });
  sessions.onEnd((id) => {
    const servers = new Set(preferences.subscriptions(id).map(({ server }) => server)); // bounded by: one session's wishes
    preferences.remove(id);
    registry.sessionEnded(id);
    for (const server of servers) registry.preferencesChanged(server);
  });
  const access = watchAccess({
    runtime,
    snapshots,
    ownerLost: (owner) => sessions.endOwned(owner, preferences.ownedBy(owner.family)),
  });
  const own = new OwnLists(snapshots);
  const balancers = new Balancers(runtime);

  const building = createCatalogBuild({ runtime, own, catalog, built: options.built });

  /** Builds lists and names over several turns; all other changes are in effect when this returns. */
  function take(snapshot: Snapshot, source: 'control' | 'disk'): void {
    const before = snapshots.current;
    if (snapshots.swapLists(snapshot)) {
      own.swapped(snapshot, source);
      return building.soon();
    }
    if (!snapshots.swap(snapshot)) return;
    currentLimits.adopt(limitsFrom(snapshot.limits));
    own.swapped(snapshot, source);
    registry.apply(snapshot.servers);
    if (source === 'control' && isSameShape(before, snapshot)) building.soon();
    else building.now();
    runtime.bus.publish({
      type: 'snapshot-swapped',
      revision: snapshot.revision,
      servers: snapshot.servers.length,
      keys: snapshot.keys.length,
      source,
    });
  }

  async function listed(raw: RawListing): Promise<void> {
    using deadline = runtime.deadline(LISTING_MS);
    const before = own.listing(raw.server);
    const listing = await buildListingInTurns(raw, { runtime, limits, before }, deadline);
    const changed = before?.digest !== listing.digest;
    own.put(listing);
    if (changed || before === undefined) await building.done(deadline);
    runtime.bus.publish(listedEvent(raw.server, listing, changed));
    if (changed) options.listed(listing);
  }

  registry.onListed((raw) => runtime.scope.run(`listing ${raw.server}`, () => listed(raw)));
  notifyOfListChanges(catalog, sessions);

  const questions = createQuestions({ runtime, limits, slot });
  const lateNames = createLateNames({ runtime, limits, catalog, others });
  const pipeline = createRequestPipeline({
    runtime,
    limits,
    snapshots,
    keys,
    sessions,
    admission,
    catalog,
    registry,
    questions,
    preferences,
    ...{ seals, slot, version, lateNames },
    requestIdPrefix: `${slot}-${Math.floor(runtime.clock.wallMs() / 1000).toString(36)}-`,
  });
  const slowReaders = createSlowReaders({ runtime, limits });
  const streams = createStreams({ runtime, limits });
  const resumableStreams = createResumableStreams({ runtime, limits, slot });
  const frontSocket = (peer: number) => join(runDir, frontSocketName(peer));
  const peers = createPeerWorkers({ runtime, limits, frontSocket, token: workerToken });
  const bodies = new Bodies({ runtime, limits });
  const endpoint = createEndpoint({
    ...{ runtime, limits, slot, pipeline, catalog },
    ...{ admission, sessions, resumableStreams, questions, streams, peers },
    ...{ bodies, affinity: createSessionAffinity({ limits, slot, sessions, snapshots, peers }) },
  });
  const health = createHealth({
    runtime,
    slot,
    version,
    sources: {
      servers: () => registry.statuses(),
      publicServers: () => registry.statuses().map(publicStatus),
      controlConnected: options.controlConnected,
      snapshotRevision: () => snapshots.current.revision,
      limits: () => limitValues(limits),
      catalogsTooLarge: () => snapshots.current.catalogsTooLarge ?? [],
      keys: () => ({ revision: snapshots.current.keysRevision, ageMs: options.keysAgeMs() }),
      gauges: () => ({ ...options.gauges(), active: process.getActiveResourcesInfo().length, pressure: pressure() }),
      overloaded: () => pressure() === 'shedding',
      counts: () => ({
        ...options.counts(),
        sessions: sessions.size,
        streams: streams.size,
        connections: front.connections,
        requests: front.counts().requests,
        trustedProxies: snapshots.current.settings.trustedProxies.length,
        calls: admission.inFlight,
      }),
    },
  });
  const forward = createForward({
    ...{ runtime, limits, bodies },
    socketPath: join(runDir, WORKERS_SOCKET),
    token: workerToken,
  });
  const proxies = createTrustedProxies(() => snapshots.current.settings);
  const router = createRouter({
    ...{ runtime, workerToken, port: () => limits.port },
    ...{ pipeline, endpoint, health, forward, proxies },
    serversOf: ({ viewName }) => resolveView(catalog, viewName)?.servers ?? [],
    legacySse: createLegacySse({
      ...{ runtime, limits, slot, pipeline, catalog, admission },
      ...{ sessions, questions, streams, peers, bodies },
    }),
    settings: () => snapshots.current.settings,
    readinessAsked: (address) => balancers.asked(address),
  });
  const pacing = new Pacing({ runtime, limits, keys });
  const http = { runtime, limits, slowReaders, traces: createRefusalTraces({ runtime, limits }) };
  const listening = { ...http, proxies, pacing, classes: createHttpClasses(http) };
  const pages = (): Snapshot['settings'] => snapshots.current.settings;
  const front = createListener({ ...listening, name: 'front', handler: router, pages, pacesReads: true });
  const workerSocket = createWorkerSocket({
    ...{ runtime, limits, endpoint, health, registry, beat, failures },
    peerEndpoint: createPeerEndpoint({ runtime, limits, registry }),
    handover: (request, response) => options.handover.serve(registry, request, response),
    holders: (request, response) => holders.serve(registry.holdsSession, request, response),
    names: (request, response) => lateNames.serve(request, response),
  });
  const privateFront = createListener({ ...listening, name: 'private', handler: workerSocket });

  function beat(): Heartbeat {
    const { rssBytes, heapBytes, loopMaxMs } = options.gauges();
    return {
      pid: process.pid,
      rssBytes,
      heapBytes,
      loopMaxMs,
      calls: admission.inFlight,
      connections: front.connections,
      streams: streams.size,
      last: options.lastFacts(),
      waits: waitSummary(runtime.waits.table()),
    };
  }

  return {
    ...{ snapshots, registry, sessions, health, admission, streams, front, privateFront, take, access },
    takeKeys: ({ keys, keysRevision }) => void snapshots.swapKeys(keys, keysRevision),
    sessionRecords: createSessionRecords({ sessions, preferences, registry }),
    takeUsedKeys: () => keys.takeUsed(),
    balancers,
    listing: (server) => own.listing(server),
  };
}

/** Composes what clients and other processes connect to: request pipeline, endpoints, health pages and listeners. */
import { join } from 'node:path';
import { createTrustedProxies, type TrustedProxies } from '../auth/trusted-proxies.ts';
import { LateNames } from '../call/late-names.ts';
import { RequestPipeline } from '../call/pipeline.ts';
import { createQuestions, type Questions } from '../call/questions.ts';
import { resolveView } from '../call/resolve-view.ts';
import { limitValues } from '../config/limits.ts';
import { Bodies } from '../downstream/bodies.ts';
import { Endpoint } from '../downstream/endpoint.ts';
import { Forward } from '../downstream/forward.ts';
import { createHttpClasses } from '../downstream/http-classes.ts';
import { LegacySse } from '../downstream/legacy-sse.ts';
import { Listener } from '../downstream/listener.ts';
import { Pacing } from '../downstream/pacing.ts';
import { PeerWorkers } from '../downstream/peer-workers.ts';
import { createRefusalTraces } from '../downstream/refusal-trace.ts';
import { type Handler, Router } from '../downstream/router.ts';
import { createSessionAffinity } from '../downstream/session-affinity.ts';
import { SlowReaders } from '../downstream/slow-reader.ts';
import { Streams } from '../downstream/streams.ts';
import { WorkerSocket } from '../downstream/worker-socket.ts';
import { Health } from '../health/health.ts';
import { frontSocketName, type Heartbeat, WORKERS_SOCKET } from '../model/supervisor-messages.ts';
import { waitSummary } from '../runtime/wait-summary.ts';
import { ResumableStreams } from '../session/resumable-streams.ts';
import { createPeerEndpoint } from '../upstream/peer/peer-endpoint.ts';
import { publicStatus } from '../upstream/status.ts';
import type { Balancers } from './balancers.ts';
import type { WorkerCore } from './worker-core.ts';
import type { WorkerPartsOptions } from './worker-options.ts';

export interface WorkerHttp {
  readonly health: Health;
  readonly streams: Streams;
  /** Connections of clients. */
  readonly front: Listener;
  /** The private socket. */
  readonly privateFront: Listener;
}

/** What answers requests. */
interface Answering {
  readonly lateNames: LateNames;
  readonly pipeline: RequestPipeline;
  readonly questions: Questions;
  readonly streams: Streams;
  readonly peers: PeerWorkers;
  readonly bodies: Bodies;
  readonly endpoint: Endpoint;
}

/** Open connections and requests; known when the listener exists, which is created last. */
type FrontFigures = () => Pick<Listener, 'connections' | 'counts'>;

export function createWorkerHttp(options: WorkerPartsOptions, core: WorkerCore, balancers: Balancers): WorkerHttp {
  const { runtime, snapshots } = options;
  const { limits } = options.currentLimits;
  const slowReaders = new SlowReaders({ runtime, limits });
  const answering = createAnswering(options, core);
  const { streams } = answering;
  const health = createWorkerHealth(options, core, streams, () => front);
  const proxies = createTrustedProxies(() => snapshots.current.settings);
  const router = createWorkerRouter(options, core, { ...answering, health, proxies, balancers });
  const pacing = new Pacing({ runtime, limits, keys: core.keys });
  const http = { runtime, limits, slowReaders, traces: createRefusalTraces({ runtime, limits }) };
  const listening = { ...http, proxies, pacing, classes: createHttpClasses(http) };
  const pages = () => snapshots.current.settings;
  const front: Listener = new Listener({ ...listening, name: 'front', handler: router, pages, pacesReads: true });
  const privateHandler = createPrivateHandler(options, core, { ...answering, health, front });
  const privateFront = new Listener({ ...listening, name: 'private', handler: privateHandler });
  return { health, streams, front, privateFront };
}

function createAnswering(options: WorkerPartsOptions, core: WorkerCore): Answering {
  const { runtime, slot, version, runDir, snapshots, workerToken } = options;
  const { limits } = options.currentLimits;
  const { keys, sessions, admission, catalog, registry, preferences, seals, others } = core;
  const questions = createQuestions({ runtime, limits, slot });
  const lateNames = new LateNames({ runtime, limits, catalog, others });
  const pipeline = new RequestPipeline({
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
    seals,
    slot,
    version,
    lateNames,
    requestIdPrefix: `${slot}-${Math.floor(runtime.clock.wallMs() / 1000).toString(36)}-`,
  });
  const streams = new Streams({ runtime, limits });
  const resumableStreams = new ResumableStreams({ runtime, limits, slot });
  const frontSocket = (peer: number) => join(runDir, frontSocketName(peer));
  const peers = new PeerWorkers({ runtime, limits, frontSocket, token: workerToken });
  const bodies = new Bodies({ runtime, limits });
  const endpoint = new Endpoint({
    runtime,
    limits,
    slot,
    pipeline,
    catalog,
    admission,
    sessions,
    resumableStreams,
    questions,
    streams,
    peers,
    bodies,
    affinity: createSessionAffinity({ limits, slot, sessions, snapshots, peers }),
  });
  return { lateNames, pipeline, questions, streams, peers, bodies, endpoint };
}

function createWorkerHealth(
  options: WorkerPartsOptions,
  { registry, sessions, admission, pressure }: WorkerCore,
  streams: Streams,
  front: FrontFigures,
): Health {
  const { runtime, slot, version, snapshots } = options;
  const { limits } = options.currentLimits;
  return new Health({
    runtime,
    slot,
    version,
    sources: {
      servers: () => registry.statuses(),
      publicServers: () => registry.statuses().map(publicStatus),
      controlConnected: options.controlConnected,
      snapshotRevision: () => snapshots.current.revision,
      catalogsTooLarge: () => snapshots.current.catalogsTooLarge ?? [],
      keys: () => ({ revision: snapshots.current.keysRevision, ageMs: options.keysAgeMs() }),
      limits: () => limitValues(limits),
      gauges: () => ({ ...options.gauges(), active: process.getActiveResourcesInfo().length, pressure: pressure() }),
      overloaded: () => pressure() === 'shedding',
      counts: () => ({
        ...options.counts(),
        sessions: sessions.size,
        streams: streams.size,
        connections: front().connections,
        requests: front().counts().requests,
        trustedProxies: snapshots.current.settings.trustedProxies.length,
        calls: admission.inFlight,
      }),
    },
  });
}

function createWorkerRouter(
  { runtime, currentLimits, slot, runDir, snapshots, workerToken }: WorkerPartsOptions,
  { catalog, admission, sessions }: WorkerCore,
  parts: Answering & {
    readonly health: Health;
    readonly proxies: TrustedProxies;
    readonly balancers: Balancers;
  },
): Handler {
  const { pipeline, endpoint, health, proxies, questions, streams, peers, bodies, balancers } = parts;
  const { limits } = currentLimits;
  const socketPath = join(runDir, WORKERS_SOCKET);
  const router = new Router({
    runtime,
    workerToken,
    port: () => limits.port,
    pipeline,
    endpoint,
    health,
    forward: new Forward({ runtime, limits, bodies, socketPath, token: workerToken }),
    proxies,
    serversOf: ({ viewName }) => resolveView(catalog, viewName)?.servers ?? [],
    legacySse: new LegacySse({
      runtime,
      limits,
      slot,
      pipeline,
      catalog,
      admission,
      sessions,
      questions,
      streams,
      peers,
      bodies,
    }),
    settings: () => snapshots.current.settings,
    readinessAsked: (address) => balancers.asked(address),
  });
  return router.handle;
}

function createPrivateHandler(
  options: WorkerPartsOptions,
  { registry, failures, holders, admission }: WorkerCore,
  parts: Pick<Answering, 'endpoint' | 'lateNames' | 'streams'> & { readonly health: Health; readonly front: Listener },
): Handler {
  const { runtime } = options;
  const { limits } = options.currentLimits;
  const { endpoint, health, lateNames, streams, front } = parts;
  const beat = (): Heartbeat => {
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
  };
  const socket = new WorkerSocket({
    runtime,
    limits,
    endpoint,
    health,
    registry,
    beat,
    failures,
    peerEndpoint: createPeerEndpoint({ runtime, limits, registry, slot: options.slot, handover: options.handover }),
    handover: (request, response) => options.handover.serve(registry, request, response),
    holders: (request, response) => holders.serve((session) => registry.holdsSession(session), request, response),
    names: (request, response) => lateNames.serve(request, response),
  });
  return socket.handle;
}

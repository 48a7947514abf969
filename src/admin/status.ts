/**
 * Builds the responses about servers and the whole hub, from memory.
 * Guarantees: pure given its sources; never waits.
 */
import type { Control } from '../control/control.ts';
import { shadowedAddresses } from '../control/exposed-names.ts';
import type { WorkerReport } from '../control/worker-reports.ts';
import type { ServerSpec } from '../model/snapshot.ts';
import type { ReportedStatus } from '../relay/relay-messages.ts';
import { sumOfRequests } from '../runtime/request-counts.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { Store } from '../store/store.ts';
import type { HubAnswer, ServerAnswer, ServerOnHub, StatusAnswer } from './contract.ts';
import { restartNeeded } from './restart-needed.ts';

export interface StatusSources {
  readonly runtime: Runtime;
  readonly control: Control;
  readonly store: Store;
  readonly version: string;
  readonly port: number;
  /** Wall clock and monotonic ms of the start of the process. */
  readonly startedAtMs: number;
  readonly bornMs: number;
  /** Counted by `admin-server.ts`. */
  readonly arrivals: Arrivals;
}

/** API requests since the start of the control process. */
export interface Arrivals {
  operator: number;
  workers: number;
  refused: number;
}

export function statusFrom(sources: StatusSources): StatusAnswer {
  const { runtime, control, store } = sources;
  const { rss, heapUsed } = process.memoryUsage();
  const servers = serversFrom(sources);
  const { failing } = store;
  return {
    version: sources.version,
    process: {
      role: 'control',
      pid: process.pid,
      uptimeMs: Math.round(runtime.clock.nowMs() - sources.bornMs),
      startedAtMs: sources.startedAtMs,
      rssBytes: rss,
      heapBytes: heapUsed,
    },
    revision: control.publisher.current?.revision ?? 0,
    publishedAtMs: control.publisher.publishedAtMs,
    port: sources.port,
    config: { ...control.reload.status, restartNeeded: restartNeeded(control.reports.list()) },
    store: { state: failing ? 'failing' : 'ok', cause: failing?.message },
    keysRevision: control.publisher.keysRevision,
    catalogsTooLarge: control.omittedCatalogs,
    workerKeys: control.workerKeys.map(({ slot, pid, keysRevision }) => ({ hub: slot, pid, keysRevision })),
    hubs: control.reports.list().map(hubAnswer),
    servers,
    clientRequests: sumOfRequests(control.reports.list().flatMap(({ requests }) => requests ?? [])),
    requests: { ...sources.arrivals },
    keys: control.state.keys.filter(({ revokedAtMs }) => revokedAtMs === undefined).length,
    groups: control.state.groups.length,
    tools: servers.reduce((sum, { tools }) => sum + tools, 0),
    prompts: servers.reduce((sum, { prompts }) => sum + prompts, 0),
    resources: servers.reduce((sum, { resources }) => sum + resources, 0),
  };
}

/** Most URIs listed per server in one response. */
const SHADOWED = 20;

export function serversFrom({ runtime, control }: StatusSources): ServerAnswer[] {
  const reports = control.reports.list().filter(({ connected }) => connected);
  const shadowed = shadowedAddresses(control.state.names);
  return control.state.servers.map((spec) => {
    const hubs = reports.flatMap((report) => onHub(spec, report, runtime.clock.nowMs()));
    const told = spokesmanOf(spec, hubs);
    const listing = control.state.listings.get(spec.slug);
    return {
      name: spec.name,
      slug: spec.slug,
      transport: spec.transport.kind,
      enabled: spec.enabled,
      homeHub: spec.homeHub,
      state: spec.enabled ? (told?.state ?? (reports.length > 0 ? 'starting' : 'unknown')) : 'disabled',
      cause: spec.enabled ? told?.cause : undefined,
      reference: spec.enabled ? told?.reference : undefined,
      tools: listing?.tools.length ?? 0,
      prompts: listing?.prompts.length ?? 0,
      resources: (listing?.resources.length ?? 0) + (listing?.templates.length ?? 0),
      listedAtMs: listing?.atMs,
      shadowed: shadowed.get(spec.slug)?.slice(0, SHADOWED),
      hubs,
    };
  });
}

/**
 * Returns the report that counts: that of the owner worker, or of a worker where it is ready when there is no owner.
 */
function spokesmanOf({ homeHub }: ServerSpec, hubs: readonly ServerOnHub[]): ServerOnHub | undefined {
  const home = hubs.find(({ hub }) => hub === homeHub);
  return home ?? hubs.find(({ state }) => state === 'ready') ?? hubs[0];
}

function onHub({ slug }: ServerSpec, report: WorkerReport, nowMs: number): ServerOnHub[] {
  const ageMs = Math.max(0, Math.round(nowMs - report.statusesAtMs));
  return report.statuses.filter(({ server }) => server === slug).map((status) => agedBy(ageMs, report.slot, status));
}

function agedBy(ageMs: number, hub: number, status: ReportedStatus): ServerOnHub {
  const { state, phase, cause, code, tools, inFlight, queued, calls, failures, restarts, crashLoop, pid } = status;
  const { serverInfo, protocolVersion, silenceMs, retryMs, reference, withholdsCancels, notes, lastFailure } = status;
  const { unread, declaresNothing, unmatched } = status;
  return {
    hub,
    state,
    phase,
    cause,
    code,
    reference,
    sinceMs: status.sinceMs + ageMs,
    retryMs: retryMs === undefined ? undefined : Math.max(0, retryMs - ageMs),
    tools,
    inFlight,
    queued,
    calls,
    failures,
    restarts,
    crashLoop,
    pid,
    serverInfo,
    protocolVersion,
    silenceMs,
    unread,
    declaresNothing,
    withholdsCancels,
    unmatched,
    notes,
    lastFailure: lastFailure && { ...lastFailure, agoMs: lastFailure.agoMs + ageMs },
  };
}

function hubAnswer({ slot, connected, pid, revision, sinceAtMs, factsDropped, requests }: WorkerReport): HubAnswer {
  return { slot, connected, pid, revision, sinceAtMs, factsDropped, clientRequests: requests };
}

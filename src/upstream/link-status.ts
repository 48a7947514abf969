/**
 * Builds the status of one link as plain data.
 */
import type { Limits } from '../config/limits.ts';
import { publicSentence } from '../model/client-error.ts';
import type { ErrorCode, ErrorDetail } from '../model/errors.ts';
import type { RawListing, ServerSpec } from '../model/snapshot.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { isLocal } from './call-endings.ts';
import type { CallFailure } from './call-outcomes.ts';
import type { CircuitView } from './circuit.ts';
import type { Link } from './link/link.ts';
import { QUICK_TRIES } from './link/reconnect-backoff.ts';
import type { UpstreamPipeline } from './pipeline.ts';
import type { LastFailure, ServerStatus } from './status.ts';

/** Longest text of a failure in a status, in characters. */
const FAILURE_CHARS = 1000;
/** A start that takes longer is reported as slow, ms. */
const SLOW_MS = 5000;

/** The current problem: the link's fault, or why the circuit is open. */
interface FaultKind {
  readonly code: ErrorCode;
  readonly message: string;
  readonly detail: ErrorDetail;
}

export function statusOf(
  member: { readonly spec: ServerSpec; readonly link?: Link; readonly pipeline?: UpstreamPipeline },
  { runtime, limits, slot }: { readonly runtime: Runtime; readonly limits: Limits; readonly slot: number },
): ServerStatus {
  const { spec, link, pipeline } = member;
  const { secrets } = runtime;
  const view = link?.view;
  const circuit = view?.state === 'ready' ? pipeline?.circuit.view : undefined;
  const isElsewhere = isLocal(spec) && spec.homeHub > 0 && spec.homeHub !== slot;
  const isForward = isElsewhere || link?.shown?.peer !== undefined;
  const fault: FaultKind | undefined = circuit ? troubleOf(circuit) : view?.state === 'ready' ? undefined : view?.fault;
  const retryMs = circuit?.retryMs ?? view?.retryMs;
  return {
    server: spec.slug,
    name: spec.name,
    transport: isForward ? 'forward' : spec.transport.kind,
    state: circuit ? 'waiting' : (view?.state ?? 'disabled'),
    phase: view?.phase,
    cause: fault ? secrets.mask(fault.message) : slowCause(link),
    publicCause: fault && publicSentence(fault.code, { ...fault.detail, server: spec.slug }),
    reference: fault?.detail.reference,
    code: fault?.code,
    sinceMs: Math.round(circuit?.sinceMs ?? view?.sinceMs ?? 0),
    retryMs: retryMs === undefined ? undefined : Math.round(retryMs),
    tools: link?.rawListing?.tools?.length ?? 0,
    prompts: link?.rawListing?.prompts?.length ?? 0,
    resources: link?.rawListing?.resources?.length ?? 0,
    templates: link?.rawListing?.templates?.length ?? 0,
    inFlight: pipeline?.queue.inside ?? 0,
    queued: pipeline?.queue.waiting ?? 0,
    calls: pipeline?.calls ?? 0,
    failures: pipeline?.outcomes.failures ?? 0,
    restarts: view?.restarts ?? 0,
    crashLoop: isLocal(spec) && view && view.state !== 'ready' && view.deaths > QUICK_TRIES ? view.deaths : undefined,
    pid: link?.shown?.pid,
    serverInfo: view?.hello ? secrets.mask(`${view.hello.name} ${view.hello.serverVersion}`.trim()) : undefined,
    protocolVersion: view?.hello?.version,
    silenceMs: Math.max(spec.times.silenceMs ?? limits.silenceMs, view?.raisedMs ?? 0),
    ...(view?.state === 'ready' ? listNotes(link?.rawListing, runtime) : NO_NOTES),
    withholdsCancels: link?.lives.toleratesCancels === false ? true : undefined,
    unmatched: link?.shown?.correlator.unmatched || undefined,
    notes: link?.shown?.notes.length ? [...link.shown.notes] : undefined,
    lastFailure: lastFailure(pipeline?.outcomes.lastFailure, runtime),
  };
}

const NO_NOTES = { unread: undefined, declaresNothing: undefined } as const;

function listNotes(
  raw: RawListing | undefined,
  { secrets }: Runtime,
): Pick<ServerStatus, 'unread' | 'declaresNothing'> {
  if (!raw) return NO_NOTES;
  const unread = raw.unread.map(({ kind, why, rows, isWanted }) => {
    return { kind, why: secrets.mask(why).slice(0, FAILURE_CHARS), rows, isWanted };
  });
  const declaresNothing = !raw.declared.some((one) => one === 'tools' || one === 'prompts' || one === 'resources');
  return { unread: unread.length === 0 ? undefined : unread, declaresNothing: declaresNothing || undefined };
}

function troubleOf({ code, message, retryMs }: CircuitView): FaultKind {
  if (retryMs === undefined) return { code, message, detail: { phase: 'call' } };
  return { code, message, detail: { phase: 'breaker', retryAfterMs: Math.round(retryMs) } };
}

/** Returns the last stderr lines of a server that is slow to answer the handshake: they often contain the reason. */
function slowCause(link: Link | undefined): string | undefined {
  if (link?.view.state !== 'connecting' || link.view.phase !== 'handshake' || link.view.sinceMs < SLOW_MS)
    return undefined;
  const last = link.stderrTail.at(-1);
  return last === undefined
    ? undefined
    : `no answer to the handshake yet; last output: ${last.slice(0, FAILURE_CHARS)}`;
}

function lastFailure(last: CallFailure | undefined, { clock, secrets }: Runtime): LastFailure | undefined {
  if (!last) return undefined;
  const { atMs, message, ...failure } = last;
  const agoMs = Math.round(clock.nowMs() - atMs);
  return { ...failure, message: secrets.mask(message).slice(0, FAILURE_CHARS), agoMs };
}

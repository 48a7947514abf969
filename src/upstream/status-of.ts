/**
 * One link as plain data.
 */
import type { Limits } from '../config/limits.ts';
import { publicSentence } from '../kernel/client-error.ts';
import type { ErrorCode, ErrorDetail } from '../kernel/errors.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { RawListing, ServerSpec } from '../kernel/snapshot.ts';
import { isLocal } from './_endings.ts';
import { QUICK_TRIES } from './_rest.ts';
import type { CircuitView } from './circuit.ts';
import type { Link } from './link.ts';
import type { Stack } from './stack.ts';
import type { LastFailure, ServerStatus } from './status.ts';

/** Characters of a failure's message in a status. */
const FAILURE_CHARS = 1000;
/** From then on a start is slow, ms. */
const SLOW_MS = 5000;

/** What is wrong now: the link's fault, or why the circuit is open. */
interface Trouble {
  readonly code: ErrorCode;
  readonly message: string;
  readonly detail: ErrorDetail;
}

export function statusOf(
  member: { readonly spec: ServerSpec; readonly link?: Link; readonly stack?: Stack },
  { kernel, limits, slot }: { readonly kernel: Kernel; readonly limits: Limits; readonly slot: number },
): ServerStatus {
  const { spec, link, stack } = member;
  const { secrets } = kernel;
  const view = link?.view;
  const circuit = view?.state === 'ready' ? stack?.circuit.view : undefined;
  const isElsewhere = isLocal(spec) && spec.homeHub > 0 && spec.homeHub !== slot;
  const isForward = isElsewhere || link?.shown?.peer !== undefined;
  const fault: Trouble | undefined = circuit ? troubleOf(circuit) : view?.state === 'ready' ? undefined : view?.fault;
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
    inFlight: stack?.inFlight ?? 0,
    queued: stack?.queued ?? 0,
    calls: stack?.calls ?? 0,
    failures: stack?.failures ?? 0,
    restarts: view?.restarts ?? 0,
    crashLoop: isLocal(spec) && view && view.state !== 'ready' && view.deaths > QUICK_TRIES ? view.deaths : undefined,
    pid: link?.shown?.pid,
    serverInfo: view?.hello ? secrets.mask(`${view.hello.name} ${view.hello.serverVersion}`.trim()) : undefined,
    protocolVersion: view?.hello?.version,
    silenceMs: Math.max(spec.times.silenceMs ?? limits.silenceMs, view?.raisedMs ?? 0),
    ...(view?.state === 'ready' ? listNotes(link?.rawListing, kernel) : NO_NOTES),
    withholdsCancels: link?.lives.toleratesCancels === false ? true : undefined,
    notes: link?.shown?.notes.length ? [...link.shown.notes] : undefined,
    lastFailure: lastFailure(stack, kernel),
  };
}

const NO_NOTES = { unread: undefined, declaresNothing: undefined } as const;

function listNotes(raw: RawListing | undefined, { secrets }: Kernel): Pick<ServerStatus, 'unread' | 'declaresNothing'> {
  if (!raw) return NO_NOTES;
  const unread = raw.unread.map(({ kind, why, rows, isWanted }) => {
    return { kind, why: secrets.mask(why).slice(0, FAILURE_CHARS), rows, isWanted };
  });
  const declaresNothing = !raw.declared.some((one) => one === 'tools' || one === 'prompts' || one === 'resources');
  return { unread: unread.length === 0 ? undefined : unread, declaresNothing: declaresNothing || undefined };
}

function troubleOf({ code, message, retryMs }: CircuitView): Trouble {
  if (retryMs === undefined) return { code, message, detail: { phase: 'call' } };
  return { code, message, detail: { phase: 'breaker', retryAfterMs: Math.round(retryMs) } };
}

/** What a server that is slow to answer the handshake has written last: mostly it says why. */
function slowCause(link: Link | undefined): string | undefined {
  if (link?.view.state !== 'connecting' || link.view.phase !== 'handshake' || link.view.sinceMs < SLOW_MS)
    return undefined;
  const last = link.stderrTail.at(-1);
  return last === undefined
    ? undefined
    : `no answer to the handshake yet; last output: ${last.slice(0, FAILURE_CHARS)}`;
}

function lastFailure(stack: Stack | undefined, { clock, secrets }: Kernel): LastFailure | undefined {
  if (!stack?.lastFailure) return undefined;
  const { atMs, message, ...failure } = stack.lastFailure;
  const agoMs = Math.round(clock.nowMs() - atMs);
  return { ...failure, message: secrets.mask(message).slice(0, FAILURE_CHARS), agoMs };
}

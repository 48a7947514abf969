/**
 * One link as plain data.
 */
import type { Limits } from '../config/limits.ts';
import { publicSentence } from '../kernel/client-error.ts';
import type { SecretMask } from '../kernel/secret-mask.ts';
import type { ServerSpec } from '../kernel/snapshot.ts';
import { isLocal } from './_endings.ts';
import { QUICK_TRIES } from './_rest.ts';
import type { Link } from './link.ts';
import type { Stack } from './stack.ts';
import type { ServerStatus } from './status.ts';

export function statusOf(
  member: { readonly spec: ServerSpec; readonly link?: Link; readonly stack?: Stack },
  { limits, slot, secrets }: { readonly limits: Limits; readonly slot: number; readonly secrets: SecretMask },
): ServerStatus {
  const { spec, link, stack } = member;
  const view = link?.view;
  const isForward = isLocal(spec) && spec.homeHub > 0 && spec.homeHub !== slot;
  const fault = view?.state === 'ready' ? undefined : view?.fault;
  return {
    server: spec.slug,
    name: spec.name,
    transport: isForward ? 'forward' : spec.transport.kind,
    state: view?.state ?? 'disabled',
    phase: view?.phase,
    cause: fault && secrets.mask(fault.message),
    publicCause: fault && publicSentence(fault.code, { ...fault.detail, server: spec.slug }),
    reference: fault?.detail.reference,
    code: fault?.code,
    sinceMs: Math.round(view?.sinceMs ?? 0),
    retryMs: view?.retryMs === undefined ? undefined : Math.round(view.retryMs),
    tools: link?.rawListing?.tools.length ?? 0,
    prompts: link?.rawListing?.prompts?.length ?? 0,
    resources: link?.rawListing?.resources?.length ?? 0,
    templates: link?.rawListing?.templates?.length ?? 0,
    inFlight: stack?.inFlight ?? 0,
    queued: stack?.queued ?? 0,
    calls: stack?.calls ?? 0,
    failures: stack?.failures ?? 0,
    restarts: view?.restarts ?? 0,
    crashLoop: isLocal(spec) && view && view.state !== 'ready' && view.deaths > QUICK_TRIES ? view.deaths : undefined,
    pid: link?.pid,
    serverInfo: view?.hello ? secrets.mask(`${view.hello.name} ${view.hello.serverVersion}`.trim()) : undefined,
    protocolVersion: view?.hello?.version,
    silenceMs: Math.max(spec.times.silenceMs ?? limits.silenceMs, view?.raisedMs ?? 0),
  };
}

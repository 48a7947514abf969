/**
 * subscriptions/listen: the notifications that a stateless client receives while its request is open (specification
 * 2026-07-28, subscriptions). `downstream/listen.ts` holds the stream, `updates.ts` sends updates.
 * Guarantees: answered from memory, according to what servers have declared; only what was requested and can be kept is
 * granted; a refused request leaves nothing behind, and nothing remains after the request ends.
 */
import { viewKey } from '../auth/access.ts';
import { isRefusal, type Outcome, Refusal } from '../model/outcome.ts';
import type { RequestMeta } from '../protocol/era-2026/request-meta.ts';
import { VERSION_2026 } from '../protocol/era-2026/versions.ts';
import type { Envelope } from '../protocol/message.ts';
import { withObjectParams } from '../protocol/object-params.ts';
import { paramSpan } from '../protocol/scan.ts';
import { refuseLongUri } from '../protocol/sizes.ts';
import { createEphemeralSession } from '../session/ephemeral.ts';
import { sealedPath } from '../session/session-token.ts';
import type { Session } from '../session/sessions.ts';
import type { Caller } from './call.ts';
import type { PipelineParts } from './pipeline-parts.ts';
import { resolveView } from './resolve-view.ts';
import { tooMuch } from './subscribe.ts';

/** A filter has a few flags and at most some hundred URIs. */
const FILTER_BYTES = 262_144;
const OPEN_OBJECT = 0x7b;
const FLAGS = ['toolsListChanged', 'promptsListChanged', 'resourcesListChanged'] as const;

/** The granted part of the filter; the text of the acknowledgement. */
export type Honoured = { [flag in (typeof FLAGS)[number]]?: true } & { resourceSubscriptions?: string[] };

export interface Listening {
  readonly session: Session;
  readonly honoured: Honoured;
}

export function listen(
  envelope: Envelope,
  requestMeta: RequestMeta,
  caller: Caller,
  parts: Pick<PipelineParts, 'runtime' | 'limits' | 'admission' | 'catalog' | 'preferences' | 'registry'>,
): Outcome<Listening> {
  const wanted = filterIn(envelope);
  if (isRefusal(wanted)) return wanted;
  const uris = urisIn(wanted, parts.limits);
  if (isRefusal(uris)) return uris;
  const permit = parts.admission.admit(caller.principal, envelope.method, caller.owner);
  if (isRefusal(permit)) return permit;
  // It is admitted like a call; an open stream counts as a stream.
  permit[Symbol.dispose]();
  const view = resolveView(parts.catalog, caller.viewName);
  if (view === undefined) return new Refusal('not-found');
  const session = createEphemeralSession(
    {
      principal: caller.principal,
      owner: caller.owner,
      path: sealedPath(viewKey(caller.viewName)),
      version: VERSION_2026,
      clientName: requestMeta.clientName,
      clientVersion: requestMeta.clientVersion,
      capabilityBits: requestMeta.capabilityBits,
    },
    parts.runtime.clock.wallMs(),
  );
  const honoured: Honoured = {};
  for (const flag of FLAGS) if (wanted[flag] === true) honoured[flag] = true;
  const subscriptions = uris.flatMap((named) => {
    const route = view.resourceRoute(named);
    return route && view.declares(route.server, 'subscribe')
      ? [{ server: route.server, uri: route.native, named }]
      : [];
  });
  if (subscriptions.length === 0) return { session, honoured };
  const kept = parts.preferences.subscribeAll(session, subscriptions);
  if (typeof kept === 'string') return tooMuch(kept);
  honoured.resourceSubscriptions = kept.map(({ named }) => named);
  // Sent before the acknowledgement, so that no event after it is missed.
  for (const [server, all] of Map.groupBy(kept, (one) => one.server))
    parts.registry.subscriptionsAdded(
      server,
      all.map(({ uri }) => uri),
    );
  return { session, honoured };
}

/** Returns the distinct URIs of a filter. All are checked before the first is kept. */
function urisIn(
  { resourceSubscriptions }: Record<string, unknown>,
  limits: PipelineParts['limits'],
): Outcome<string[]> {
  if (!Array.isArray(resourceSubscriptions)) return [];
  if (resourceSubscriptions.length > limits.sessionSubscriptions)
    return new Refusal('invalid-params', `More than ${limits.sessionSubscriptions} resourceSubscriptions.`, {
      setting: 'sessionSubscriptions',
    });
  for (const uri of resourceSubscriptions) {
    if (typeof uri !== 'string') return new Refusal('invalid-params', 'resourceSubscriptions must be strings.');
    const tooLong = refuseLongUri(uri, 'A URI of resourceSubscriptions', limits);
    if (tooLong) return tooLong;
  }
  return [...new Set(resourceSubscriptions as string[])];
}

function filterIn(message: Envelope): Outcome<Record<string, unknown>> {
  const envelope = withObjectParams(message);
  if (isRefusal(envelope)) return envelope;
  const { bytes } = envelope;
  const span = paramSpan(envelope, 'notifications');
  if (span.at < 0 || bytes[span.at] !== OPEN_OBJECT)
    return new Refusal('invalid-params', 'params.notifications must be an object that names the notifications.');
  if (span.end - span.at > FILTER_BYTES) return new Refusal('invalid-params', 'params.notifications is too large.');
  return JSON.parse(bytes.toString('utf8', span.at, span.end)) as Record<string, unknown>;
}

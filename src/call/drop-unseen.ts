/**
 * Removes a session's subscriptions to servers that its caller may no longer see, before the session gets a stream
 * again.
 */
import type { Session } from '../session/sessions.ts';
import type { Caller } from './call.ts';
import type { PipelineParts } from './pipeline-parts.ts';
import { resolveView } from './resolve-view.ts';

export function dropUnseen(
  session: Session,
  caller: Caller,
  { preferences, catalog, registry }: Pick<PipelineParts, 'preferences' | 'catalog' | 'registry'>,
): void {
  const subscriptions = preferences.subscriptions(session.random);
  if (subscriptions.length === 0) return;
  const visible = new Set(resolveView(catalog, caller.viewName)?.servers); // bounded by: servers
  for (const { server, uri } of subscriptions) {
    if (visible.has(server)) continue;
    preferences.unsubscribe(session.random, server, uri);
    registry.preferencesChanged(server);
  }
}

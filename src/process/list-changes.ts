/** Sends `list_changed` notifications to the sessions whose view has changed. */
import type { Catalog } from '../catalog/catalog.ts';
import type { ListKind } from '../catalog/view.ts';
import { notificationFrame } from '../protocol/write.ts';
import { sealedPath } from '../session/session-token.ts';
import type { Sessions } from '../session/sessions.ts';

const LIST_CHANGED: Readonly<Record<ListKind, Buffer>> = {
  tools: notificationFrame('notifications/tools/list_changed', undefined),
  prompts: notificationFrame('notifications/prompts/list_changed', undefined),
  resources: notificationFrame('notifications/resources/list_changed', undefined),
};

export function notifyOfListChanges(catalog: Catalog, sessions: Sessions): void {
  catalog.onChange((changed) => {
    for (const kind of ['tools', 'prompts', 'resources'] as const) {
      const views = changed.filter(({ kinds }) => kinds.includes(kind));
      const paths = new Set(views.map(({ view }) => sealedPath(view))); // bounded by: views
      if (paths.size > 0) sessions.broadcast((session) => paths.has(session.path), LIST_CHANGED[kind]);
    }
  });
}

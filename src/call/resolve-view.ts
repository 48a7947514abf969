/**
 * Resolves the name of a view. Returns undefined when its group or server no longer exists.
 */
import type { ViewName } from '../auth/access.ts';
import type { Catalog } from '../catalog/catalog.ts';
import type { View } from '../catalog/view.ts';

type Views = Pick<Catalog, 'viewAll' | 'viewOfGroup' | 'viewOfServer' | 'viewOfGroups'>;

export function resolveView(catalog: Views, name: ViewName): View | undefined {
  switch (name.kind) {
    case 'all':
      return catalog.viewAll();
    case 'group':
      return catalog.viewOfGroup(name.slug);
    case 'server':
      return catalog.viewOfServer(name.slug);
    case 'groups':
      return catalog.viewOfGroups(name.slugs);
  }
}

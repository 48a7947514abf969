/**
 * Which part of the catalog a caller may use at a path: one decision for lists, calls and streams.
 * Promises: deny by default; a path narrows what a key may do and never widens it; an anonymous group is open on loopback only, and not
 * through a proxy on the same machine.
 * Does not: read the catalog; the answer is the name of a view.
 */
import { type Outcome, Refusal } from '../model/outcome.ts';
import { ANONYMOUS_PRINCIPAL, type Principal, type ViewName } from '../model/principal.ts';
import type { GroupSpec } from '../model/snapshot.ts';

/** What a path names: everything, a group, or a server, by slug. */
export type PathTarget = { readonly kind: 'all' } | { readonly kind: 'group' | 'server'; readonly slug: string };

export type { ViewName } from '../model/principal.ts';

/** Short text of a view name, for session statements and for change notices; the catalog uses the same. */
export function viewKey(view: ViewName): string {
  switch (view.kind) {
    case 'all':
      return 'all';
    case 'group':
      return `group:${view.slug}`;
    case 'server':
      return `server:${view.slug}`;
    case 'groups':
      return `groups:${view.slugs.join(',')}`;
  }
}

export interface Visitor {
  readonly loopback: boolean;
  /** The request may have come through a proxy on this machine, from anybody. */
  readonly proxied: boolean;
}

/** Returns true when this path needs no key from the sender, whom it looks at only where the path is that of an anonymous group. */
export function isOpenTo(
  target: PathTarget,
  groups: readonly GroupSpec[],
  sender: { readonly visitor: Visitor },
): boolean {
  if (target.kind !== 'group') return false;
  if (!groups.some((group) => group.slug === target.slug && group.access === 'anonymous')) return false;
  const { loopback, proxied } = sender.visitor;
  return loopback && !proxied;
}

/** Who calls at a path: the key's owner, or nobody in particular where the path is open. A key that is sent must be right even there. */
export function admit(parts: { open: boolean; hasKey: boolean; check: () => Outcome<Principal> }): Outcome<Principal> {
  if (parts.open && !parts.hasKey) return ANONYMOUS_PRINCIPAL;
  return parts.check();
}

/** The view for a caller at a path, or why not. */
export function viewFor(
  target: PathTarget,
  principal: Pick<Principal, 'groups'>,
  groups: readonly GroupSpec[],
): Outcome<ViewName> {
  const allowed = principal.groups;
  if (allowed === undefined) return target;
  if (target.kind === 'all') return { kind: 'groups', slugs: [...allowed].sort() };
  if (target.kind === 'group') {
    if (allowed.includes(target.slug)) return target;
    return notForKey();
  }
  const covering = groups.some(
    (group) =>
      allowed.includes(group.slug) &&
      (group.servers === '*' || group.servers.includes(target.slug)) &&
      !Object.hasOwn(group.tools, target.slug),
  );
  return covering ? target : notForKey();
}

/** The same for a path that exists and one that does not, so that a key of some groups does not learn the names of others. */
export function notForKey(): Refusal {
  return new Refusal('forbidden', 'This key may not use this path as a whole; use /mcp or one of its groups.');
}

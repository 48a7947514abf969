/**
 * Decides which part of the catalog a caller may use at a path, for lists, calls and streams. The result is the name of
 * a view; the catalog is not read.
 * Guarantees: denies by default; a path only narrows what a key allows; an anonymous group is open on loopback only,
 * and not through a proxy on the same machine.
 */
import { type Outcome, Refusal } from '../model/outcome.ts';
import { ANONYMOUS_PRINCIPAL, type Principal, type ViewName } from '../model/principal.ts';
import type { GroupSpec } from '../model/snapshot.ts';

/** What a path refers to: everything, or a group or server by slug. */
export type PathTarget = { readonly kind: 'all' } | { readonly kind: 'group' | 'server'; readonly slug: string };

export type { ViewName } from '../model/principal.ts';

/** Returns the short text of a view name, for session tokens and change notices; the catalog uses the same. */
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
  /** True when the request may have come from another machine through a proxy on this one. */
  readonly proxied: boolean;
}

/**
 * Returns true when this path needs no key from the sender. The sender is examined only when the path is that of an
 * anonymous group.
 */
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

/**
 * Returns the caller at a path: the key's owner, or the anonymous principal where the path is open. A key that is sent
 * must be valid in either case.
 */
export function admit(parts: { open: boolean; hasKey: boolean; check: () => Outcome<Principal> }): Outcome<Principal> {
  if (parts.open && !parts.hasKey) return ANONYMOUS_PRINCIPAL;
  return parts.check();
}

/** Returns the view for a caller at a path, or a refusal. */
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

/**
 * Returns the same refusal for existing and missing paths, so that a key for some groups does not reveal the names of
 * others.
 */
export function notForKey(): Refusal {
  return new Refusal('forbidden', 'This key may not use this path as a whole; use /mcp or one of its groups.');
}

/**
 * Decides whether an open item may stay open under the current snapshot: its key must exist and be valid, its view must
 * not have lost a server or a tool, and the server of a call must be in it.
 * Guarantees: a key that is unknown, expired, or belongs to another user now is refused; extending a key ends nothing;
 * a server that was removed from the configuration is no reason (its own drain ends the items that use it).
 */

import { type Outcome, Refusal } from '../model/outcome.ts';
import { LOCAL_PRINCIPAL, type Principal, type ViewName } from '../model/principal.ts';
import type { GroupSpec, KeyRecord, Snapshot } from '../model/snapshot.ts';
import type { OpenUse } from '../runtime/open-item.ts';
import type { AccessCheck } from '../runtime/open-work.ts';
import { type PathTarget, viewFor, viewKey } from './access.ts';

/** Native tool names by server slug; `all` for all its tools. */
type Visible = ReadonlyMap<string, ReadonlySet<string> | 'all'>;

/** Returns the check for the current snapshot; results are cached while `current` and `since` stay the same. */
export function createAccessCheck(current: () => Snapshot, wallMs: () => number): AccessCheck {
  // Weak references: a snapshot may hold tens of MiB of lists, and the next check may be days away.
  let seen: { readonly now: WeakRef<Snapshot>; readonly since: WeakRef<Snapshot> } | undefined;
  let keys: ReadonlyMap<string, KeyRecord> = new Map(); // bounded by: the keys of the snapshot
  let oldKeys: ReadonlyMap<string, KeyRecord> = new Map(); // bounded by: the keys of the snapshot
  let views = new Map<string, Outcome<Visible>>(); // bounded by: keys × paths that have something open

  function look(since: Snapshot): Snapshot {
    const now = current();
    if (seen?.now.deref() !== now || seen.since.deref() !== since) {
      seen = { now: new WeakRef(now), since: new WeakRef(since) };
      keys = new Map(now.keys.map((key) => [key.id, key]));
      oldKeys = new Map(since.keys.map((key) => [key.id, key]));
      views = new Map();
    }
    return now;
  }

  function viewOf(principal: Principal, viewName: ViewName, now: Snapshot, since: Snapshot): Outcome<Visible> {
    const memo = `${principal.keyId}\n${viewKey(viewName)}`;
    const known = views.get(memo);
    if (known !== undefined) return known;
    const target = targetOf(viewName);
    const record = keys.get(principal.keyId);
    const visible = visibleAt(target, record?.groups, now);
    const before = visibleAt(target, oldKeys.get(principal.keyId)?.groups ?? principal.groups, since);
    const isNarrower = !(visible instanceof Refusal) && !(before instanceof Refusal) && hasLost(before, visible, now);
    const result = isNarrower ? new Narrowed(visible) : visible;
    views.set(memo, result);
    return result;
  }

  return (item, since) => {
    const { principal, viewName, use } = item;
    if (principal.keyId === LOCAL_PRINCIPAL.keyId) return 'allowed';
    const now = look(since);
    const lost = principal.role === 'anonymous' ? closedTo(viewName, now.groups) : lostKey(principal, keys, wallMs());
    if (lost) return lost;
    const visible = viewOf(principal, viewName, now, since);
    if (visible instanceof Refusal) return visible;
    if (use) return isVisible(visible, use, now) ? 'allowed' : new Refusal('forbidden', NARROWED);
    return visible instanceof Narrowed ? new Refusal('forbidden', NARROWED) : 'allowed';
  };
}

const NARROWED = 'This key may no longer use everything that was open for it; connect again.';

/** A view that has become smaller. */
class Narrowed extends Map<string, ReadonlySet<string> | 'all'> {}

function lostKey(principal: Principal, keys: ReadonlyMap<string, KeyRecord>, nowMs: number): Refusal | undefined {
  const key = keys.get(principal.keyId);
  const isSame =
    key !== undefined &&
    key.family === principal.family &&
    key.userId === principal.userId &&
    (key.role === principal.role || principal.role === 'member');
  if (!isSame) return new Refusal('key-revoked');
  return key.expiresAtMs !== undefined && nowMs >= key.expiresAtMs ? new Refusal('key-expired') : undefined;
}

/** Returns a refusal when an anonymous caller's group now needs a key, or does not exist any more. */
function closedTo(viewName: ViewName, groups: readonly GroupSpec[]): Refusal | undefined {
  const isOpen =
    viewName.kind === 'group' && groups.some(({ slug, access }) => slug === viewName.slug && access === 'anonymous');
  return isOpen ? undefined : new Refusal('unauthorized');
}

function targetOf(viewName: ViewName): PathTarget {
  return viewName.kind === 'groups' ? { kind: 'all' } : viewName;
}

function visibleAt(target: PathTarget, groups: readonly string[] | undefined, snapshot: Snapshot): Outcome<Visible> {
  const viewName = viewFor(target, { groups }, snapshot.groups);
  if (viewName instanceof Refusal) return viewName;
  if (viewName.kind === 'server') return new Map([[viewName.slug, 'all']]);
  if (viewName.kind === 'all') return new Map(snapshot.servers.map(({ slug }) => [slug, 'all']));
  const slugs = viewName.kind === 'groups' ? viewName.slugs : [viewName.slug];
  const visible = new Map<string, ReadonlySet<string> | 'all'>(); // bounded by: servers
  for (const group of snapshot.groups) {
    if (!slugs.includes(group.slug)) continue;
    const servers = group.servers === '*' ? snapshot.servers.map(({ slug }) => slug) : group.servers;
    for (const server of servers) {
      const tools = Object.hasOwn(group.tools, server) ? group.tools[server] : undefined;
      const known = visible.get(server);
      if (known === 'all' || tools === undefined) visible.set(server, 'all');
      else visible.set(server, new Set([...(known ?? []), ...tools]));
    }
  }
  return visible;
}

/** Returns true when a server that is still configured, or a tool of one, was visible and is not any more. */
function hasLost(before: Visible, visible: Visible, now: Snapshot): boolean {
  const configured = new Set(now.servers.map(({ slug }) => slug));
  for (const [server, tools] of before) {
    if (!configured.has(server)) continue;
    const left = visible.get(server);
    if (left === undefined) return true;
    if (left === 'all') continue;
    if (tools === 'all' || [...tools].some((tool) => !left.has(tool))) return true;
  }
  return false;
}

function isVisible(visible: Visible, { server, tool }: OpenUse, now: Snapshot): boolean {
  const tools = visible.get(server);
  if (tools === undefined) return !now.servers.some(({ slug }) => slug === server);
  return tools === 'all' || tool === undefined || tools.has(tool);
}

/**
 * Exposed names across time: what a new listing adds, and what may be forgotten.
 * Promises: pure; names of servers that are not configured now are kept until another tool or prompt needs them.
 * Does not: know how a name is made (`catalog/names.ts`).
 */
import { giveNames, pairKey } from '../catalog/names.ts';
import type { GivenName, Listing, ServerSpec } from '../kernel/snapshot.ts';

export interface NamesChange {
  /** All names from now on, oldest first, those of servers that are away too. */
  readonly given: readonly GivenName[];
  readonly add: readonly GivenName[];
  /** To forget. */
  readonly drop: readonly GivenName[];
}

export function changeOfNames(input: {
  readonly listings: readonly Listing[];
  readonly servers: readonly ServerSpec[];
  readonly given: readonly GivenName[];
}): NamesChange {
  const { servers, given } = input;
  const configured = new Set(servers.map(({ slug }) => slug));
  const live = giveNames(input);
  const isLive = new Set(live.map(exposedKey));
  const before = new Set(given.map(wholeKey));
  const away = given.filter((name) => !configured.has(name.server) && !isLive.has(exposedKey(name)));
  const add = live.filter((name) => !before.has(wholeKey(name)));
  const drop = given.filter((name) => configured.has(name.server) && !isLive.has(exposedKey(name)));
  return { given: [...away, ...live], add, drop };
}

const exposedKey = ({ kind, exposed }: GivenName): string => `${kind}\n${exposed}`;
const wholeKey = (name: GivenName): string => `${exposedKey(name)}\n${pairKey(name.server, name.native)}`;

/** Returns, by server, the addresses of resources and templates that belong to another server, under which its own are not reachable. */
export function shadowedIn(names: readonly GivenName[]): ReadonlyMap<string, readonly string[]> {
  const shadowed = new Map<string, string[]>();
  for (const { kind, exposed, server, native } of names) {
    if ((kind !== 'resource' && kind !== 'template') || exposed === native) continue;
    const ofServer = shadowed.get(server);
    if (ofServer) ofServer.push(native);
    else shadowed.set(server, [native]);
  }
  return shadowed;
}

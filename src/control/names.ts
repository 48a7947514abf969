/**
 * Exposed names across time: what a new listing adds, and what may be forgotten.
 * Promises: pure; names of servers that are not configured now are kept until another tool needs them.
 * Does not: know how a name is made (`catalog/names.ts`).
 */
import { giveNames, pairKey } from '../catalog/names.ts';
import type { GivenName, Listing, ServerSpec } from '../kernel/snapshot.ts';

export interface NamesChange {
  /** All names from now on, oldest first, those of servers that are away too. */
  readonly given: readonly GivenName[];
  readonly add: readonly GivenName[];
  /** Exposed names to forget. */
  readonly drop: readonly string[];
}

export function changeOfNames(input: {
  readonly listings: readonly Listing[];
  readonly servers: readonly ServerSpec[];
  readonly given: readonly GivenName[];
}): NamesChange {
  const { servers, given } = input;
  const configured = new Set(servers.map(({ slug }) => slug));
  const live = giveNames(input);
  const liveByExposed = new Map(live.map((name) => [name.exposed, name]));
  const before = new Set(given.map((name) => `${name.exposed}\n${pairKey(name.server, name.native)}`));
  const away = given.filter(({ server, exposed }) => !configured.has(server) && !liveByExposed.has(exposed));
  const add = live.filter((name) => !before.has(`${name.exposed}\n${pairKey(name.server, name.native)}`));
  const drop = given.filter(({ server, exposed }) => configured.has(server) && !liveByExposed.has(exposed));
  return { given: [...away, ...live], add, drop: drop.map(({ exposed }) => exposed) };
}

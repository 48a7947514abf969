/**
 * Updates the assigned exposed names when listings change. `catalog/names.ts` constructs the names.
 * Guarantees: pure; names of servers that are not configured now are kept until another tool or prompt needs them.
 */

import { pairKey } from '../catalog/exposed-name.ts';
import { nameSteps } from '../catalog/names.ts';
import type { GivenName, Listing, ServerSpec } from '../model/snapshot.ts';
import { atOnce } from '../runtime/take-turn.ts';

export interface NameChange {
  /** All names after the change, oldest first, including those of servers that are not configured now. */
  readonly assigned: readonly GivenName[];
  readonly add: readonly GivenName[];
  /** Names to delete. */
  readonly drop: readonly GivenName[];
}

interface NamingInput {
  readonly listings: readonly Listing[];
  readonly servers: readonly ServerSpec[];
  readonly assigned: readonly GivenName[];
}

/** Rows of one step, about 1 ms. */
const STEP_ROWS = 1000;

export function nameChange(input: NamingInput): NameChange {
  return atOnce(nameChangeSteps(input));
}

/** Like `nameChange`, in steps of about 1 ms. */
export function* nameChangeSteps(input: NamingInput): Generator<void, NameChange> {
  const { servers, assigned } = input;
  const configured = new Set(servers.map(({ slug }) => slug)); // bounded by: servers
  const live = yield* nameSteps({ ...input, nextAge: nextAge(assigned) });
  const isLive = yield* keySet(live, exposedKey);
  const before = yield* keySet(assigned, wholeKey);
  const add: GivenName[] = []; // bounded by: live
  let rows = 0;
  for (const name of live) {
    rows += 1;
    if (rows % STEP_ROWS === 0) yield;
    if (!before.has(wholeKey(name))) add.push(name);
  }
  const away: GivenName[] = []; // bounded by: given
  const drop: GivenName[] = []; // bounded by: given
  for (const name of assigned) {
    rows += 1;
    if (rows % STEP_ROWS === 0) yield;
    if (!isLive.has(exposedKey(name))) (configured.has(name.server) ? drop : away).push(name);
  }
  return { assigned: [...away, ...live], add, drop };
}

const exposedKey = ({ kind, exposed }: GivenName): string => `${kind}\n${exposed}`;
const wholeKey = (name: GivenName): string => `${exposedKey(name)}\n${pairKey(name.server, name.native)}`;

function nextAge(assigned: readonly GivenName[]): number {
  let next = 0;
  for (const { age = 0 } of assigned) next = Math.max(next, age + 1);
  return next;
}

function* keySet(names: readonly GivenName[], keyOf: (name: GivenName) => string): Generator<void, Set<string>> {
  const keys = new Set<string>(); // bounded by: names
  for (const name of names) {
    keys.add(keyOf(name));
    if (keys.size % STEP_ROWS === 0) yield;
  }
  return keys;
}

/**
 * Returns, by server, native addresses of resources and templates that another server already has; they are exposed
 * under another URI.
 */
export function shadowedAddresses(names: readonly GivenName[]): ReadonlyMap<string, readonly string[]> {
  const shadowed = new Map<string, string[]>();
  for (const { kind, exposed, server, native } of names) {
    if ((kind !== 'resource' && kind !== 'template') || exposed === native) continue;
    const ofServer = shadowed.get(server);
    if (ofServer) ofServer.push(native);
    else shadowed.set(server, [native]);
  }
  return shadowed;
}

/**
 * Which server owns each exposed name, and its position in the order of assignment.
 */
import type { GivenName } from '../model/snapshot.ts';
import type { FindOwner } from './_view-names.ts';
import type { AddressLookup } from './_view-resources.ts';

/** `age`: position in the order of assignment. */
export type NameOwners = Readonly<
  Record<GivenName['kind'], ReadonlyMap<string, { readonly name: GivenName; readonly age: number }>>
>;

/** Rows of one step, less than 1 ms. */
export const STEP_ROWS = 1000;
/** Names that control has not assigned yet come last, in order. */
const UNKNOWN_AGE = 1e12;

/** Returns the owners of all names, in steps of `STEP_ROWS`. */
export function* nameOwners(names: readonly GivenName[]): Generator<void, NameOwners> {
  const owners = { tool: new Map(), prompt: new Map(), resource: new Map(), template: new Map() };
  for (const [at, name] of names.entries()) {
    if (at % STEP_ROWS === STEP_ROWS - 1) yield;
    owners[name.kind].set(name.exposed, { name, age: name.age ?? UNKNOWN_AGE + at });
  }
  return owners;
}

/** Looks names up in the owners at the time of the call. */
export interface NameLookup {
  readonly tool: FindOwner;
  readonly prompt: FindOwner;
  readonly addresses: AddressLookup;
}

export function nameLookup(owners: () => NameOwners): NameLookup {
  const given =
    (kind: GivenName['kind']): FindOwner =>
    (exposed) =>
      owners()[kind].get(exposed)?.name;
  return {
    tool: given('tool'),
    prompt: given('prompt'),
    addresses: {
      resource: given('resource'),
      template: given('template'),
      ageOf: (kind: 'resource' | 'template', exposed: string) => owners()[kind].get(exposed)?.age,
      *all() {
        for (const kind of ['resource', 'template'] as const)
          for (const { name } of owners()[kind].values()) yield name;
      },
    },
  };
}

/**
 * The identity of a caller. Created in `auth/` from a verified credential only, and passed on as an argument.
 */
import type { Role } from './snapshot.ts';

/** What a caller sees: everything, one group, one server, or the union of a key's groups; by slug. */
export type ViewName =
  | { readonly kind: 'all' }
  | { readonly kind: 'group' | 'server'; readonly slug: string }
  | { readonly kind: 'groups'; readonly slugs: readonly string[] };

export interface Principal {
  readonly userId: string;
  readonly userName: string;
  /**
   * Key family: what shares are counted for and sessions are bound to; `local` on a private socket, `anonymous` without
   * a key.
   */
  readonly family: string;
  readonly keyId: string;
  readonly keyName: string;
  readonly role: Role | 'anonymous';
  /** Slugs of the groups that it may use; undefined for all. */
  readonly groups: readonly string[] | undefined;
  /** Time at which its key expires, in ms of the wall clock; absent when it does not expire. */
  readonly expiresAtMs?: number | undefined;
}

/** A caller on a private unix socket (directory 0700): the operator of this machine. */
export const LOCAL_PRINCIPAL: Principal = {
  userId: 'local',
  userName: 'local',
  family: 'local',
  keyId: 'local',
  keyName: 'local',
  role: 'owner',
  groups: undefined,
};

/** A caller of a group with `access: "anonymous"`. */
export const ANONYMOUS_PRINCIPAL: Principal = {
  userId: 'anonymous',
  userName: 'anonymous',
  family: 'anonymous',
  keyId: 'anonymous',
  keyName: 'anonymous',
  role: 'anonymous',
  groups: undefined,
};

/** Number of groups in an IPv6 address that name its network (/64): a host may choose the others freely. */
const NETWORK_GROUPS = 4;

const ADDRESS_PREFIX = 'address:';

/**
 * Returns the owner that shares of containers are counted for: the key's family, or without a key the caller's address
 * (IPv6: its /64).
 */
export function shareOf(principal: Principal, address: string): string {
  return principal.role === 'anonymous' ? `${ADDRESS_PREFIX}${networkOf(address)}` : principal.family;
}

/** Tells whether a share belongs to an address: its holder has sent no key. */
export function isAddressShare(owner: string): boolean {
  return owner.startsWith(ADDRESS_PREFIX);
}

function networkOf(address: string): string {
  // Nearly all addresses are IPv4, and each request needs this several times.
  if (!address.includes(':') && !address.includes('%')) return address;
  const [plain = ''] = address.toLowerCase().split('%');
  if (plain.startsWith('::ffff:') && plain.includes('.')) return plain.slice('::ffff:'.length);
  if (!plain.includes(':')) return plain;
  const [head = '', tail] = plain.split('::');
  const before = head === '' ? [] : head.split(':');
  const after = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - before.length - after.length);
  const groups = [...before, ...Array<string>(zeros).fill('0'), ...after].slice(0, NETWORK_GROUPS);
  return `${groups.map((group) => group.replace(/^0+(?=.)/, '')).join(':')}::/64`;
}

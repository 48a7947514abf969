/**
 * Classifies IP addresses and decides which classes the hub may connect to. The check applies to the address that is
 * connected to (names are resolved once), so a changed DNS answer cannot bypass it.
 * Guarantees: pure; an IPv6 address that embeds an IPv4 address (mapped, 6to4, NAT64) counts as that address.
 */
import { BlockList, isIPv4, isIPv6 } from 'node:net';

/** A resolved address. */
export interface Address {
  readonly address: string;
  readonly family: 4 | 6;
}

/**
 * `link-local` and `metadata` include the metadata services of clouds, which return credentials; MCP servers never run
 * there.
 */
export type AddressClass =
  | 'public'
  | 'loopback'
  | 'private'
  | 'link-local'
  | 'metadata'
  | 'multicast'
  | 'reserved'
  | 'not-an-address';
/**
 * `any` allows everything except link-local, metadata and multicast (servers that the operator configured); `public`
 * allows only the public internet (URLs from untrusted sources).
 */
export type AddressRule = 'any' | 'public';

type Range = readonly [address: string, prefix: number, family: 'ipv4' | 'ipv6'];

// RFC 6890 and successors; 100.64/10 is carrier NAT, fec0::/10 the old site-local range.
const RANGES: readonly (readonly [AddressClass, readonly Range[]])[] = [
  [
    'link-local',
    [
      ['169.254.0.0', 16, 'ipv4'],
      ['fe80::', 10, 'ipv6'],
    ],
  ],
  [
    // EC2 over IPv6, Alibaba Cloud, Oracle Cloud's second address.
    'metadata',
    [
      ['fd00:ec2::254', 128, 'ipv6'],
      ['100.100.100.200', 32, 'ipv4'],
      ['192.0.0.192', 32, 'ipv4'],
    ],
  ],
  [
    'multicast',
    [
      ['224.0.0.0', 4, 'ipv4'],
      ['ff00::', 8, 'ipv6'],
    ],
  ],
  [
    'loopback',
    [
      ['127.0.0.0', 8, 'ipv4'],
      ['::1', 128, 'ipv6'],
    ],
  ],
  [
    'private',
    [
      ['10.0.0.0', 8, 'ipv4'],
      ['172.16.0.0', 12, 'ipv4'],
      ['192.168.0.0', 16, 'ipv4'],
      ['100.64.0.0', 10, 'ipv4'],
      ['fc00::', 7, 'ipv6'],
      ['fec0::', 10, 'ipv6'],
    ],
  ],
  [
    'reserved',
    [
      ['0.0.0.0', 8, 'ipv4'],
      ['192.0.0.0', 24, 'ipv4'],
      ['192.0.2.0', 24, 'ipv4'],
      ['198.18.0.0', 15, 'ipv4'],
      ['198.51.100.0', 24, 'ipv4'],
      ['203.0.113.0', 24, 'ipv4'],
      ['240.0.0.0', 4, 'ipv4'],
      ['::', 128, 'ipv6'],
      ['2001::', 32, 'ipv6'],
      ['2001:db8::', 32, 'ipv6'],
      ['64:ff9b:1::', 48, 'ipv6'],
    ],
  ],
];

const LISTS: readonly (readonly [AddressClass, BlockList])[] = RANGES.map(([kind, ranges]) => {
  const list = new BlockList();
  for (const [address, prefix, family] of ranges) list.addSubnet(address, prefix, family);
  return [kind, list];
});

export function addressClass(address: string): AddressClass {
  if (isIPv4(address)) return classIn(address, 'ipv4');
  if (!isIPv6(address)) return 'not-an-address';
  const outer = classIn(address.replace(/%.*/s, ''), 'ipv6');
  const inner = embeddedIpv4(address);
  const kind = inner === undefined ? outer : classIn(inner, 'ipv4');
  return kind === 'public' ? outer : kind;
}

const NEVER: ReadonlySet<AddressClass> = new Set<AddressClass>([
  'link-local',
  'metadata',
  'multicast',
  'not-an-address',
]);

/** Returns true when `rule` allows connections to this address. */
export function isAllowed(address: string, rule: AddressRule): boolean {
  const kind = addressClass(address);
  if (rule === 'public') return kind === 'public';
  return !NEVER.has(kind);
}

function classIn(address: string, family: 'ipv4' | 'ipv6'): AddressClass {
  for (const [kind, list] of LISTS) if (list.check(address, family)) return kind;
  return 'public';
}

/**
 * Returns the IPv4 address inside an IPv6 one, dotted, or undefined: mapped (::ffff:0:0/96), compatible (::/96, except
 * :: and ::1), NAT64 (64:ff9b::/96 and 64:ff9b:1::/48 with the address at its end), 6to4 (2002::/16) and the client of
 * Teredo (2001::/32, inverted).
 */
function embeddedIpv4(address: string): string | undefined {
  const groups = groupsOf(address);
  const [a, b, c, , , f, high = 0, low = 0] = groups;
  const isZero = (from: number, to: number): boolean => groups.slice(from, to).every((group) => group === 0);
  const isMapped = isZero(0, 5) && f === 0xffff;
  const isCompatible = isZero(0, 6) && (high !== 0 || low > 1);
  const isNat64 = a === 0x64 && b === 0xff9b && (isZero(2, 6) || (c === 1 && isZero(3, 6)));
  if (isMapped || isCompatible || isNat64) return dotted(high, low);
  if (a === 0x2002) return dotted(b ?? 0, c ?? 0);
  if (a === 0x2001 && b === 0) return dotted(high ^ 0xffff, low ^ 0xffff);
  return undefined;
}

function dotted(high: number, low: number): string {
  return `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`;
}

/** Returns the eight 16-bit groups of a valid IPv6 address. */
function groupsOf(address: string): number[] {
  const plain = address
    .replace(/%.*/s, '')
    .replace(/(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/, (_, a, b, c, d) =>
      [(Number(a) << 8) | Number(b), (Number(c) << 8) | Number(d)].map((group) => group.toString(16)).join(':'),
    );
  const [head = '', tail] = plain.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const gap = tail === undefined ? 0 : 8 - left.length - right.length;
  return [...left, ...new Array<string>(Math.max(gap, 0)).fill('0'), ...right].map((group) =>
    Number.parseInt(group, 16),
  );
}

/**
 * Recognises the operator's reverse proxies (setting `trustedProxies`) and determines the client address behind them.
 * Forwarding headers of all other peers are ignored, because they could contain any address.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { BlockList, isIP } from 'node:net';

/** Most proxies in a chain; the list is read from its end. */
const MAX_HOPS = 16;
/** A longer header is not read. */
const MAX_HEADER_CHARS = 4096;

export interface TrustedProxies {
  has(address: string | undefined): boolean;
  /**
   * Returns the client address that a trusted `peer` reports: the last in its list that is not a trusted proxy;
   * undefined when there is none.
   */
  clientBehind(peer: string | undefined, headers: IncomingHttpHeaders): string | undefined;
}

/** `settings` is called each time; the lists are rebuilt when the configuration changes. */
export function createTrustedProxies(settings: () => { readonly trustedProxies: readonly string[] }): TrustedProxies {
  let from: readonly string[] = []; // bounded by: the configuration
  let networks = new BlockList();

  function has(address: string | undefined): boolean {
    const { trustedProxies } = settings();
    if (trustedProxies.length === 0 || address === undefined) return false;
    if (trustedProxies !== from) {
      from = trustedProxies;
      networks = networksFrom(trustedProxies);
    }
    const plain = plainAddress(address);
    const family = isIP(plain);
    return family !== 0 && networks.check(plain, family === 4 ? 'ipv4' : 'ipv6');
  }

  return {
    has,
    clientBehind(peer, headers) {
      if (!has(peer)) return undefined;
      const named = namedIn(headers);
      for (let hop = 1; hop <= Math.min(named.length, MAX_HOPS); hop += 1) {
        const address = plainAddress(named.at(-hop) ?? '');
        if (isIP(address) === 0) return undefined;
        if (!has(address)) return address;
      }
      return undefined;
    },
  };
}

function networksFrom(texts: readonly string[]): BlockList {
  const list = new BlockList();
  for (const text of texts) {
    const [address = '', bits] = text.split('/');
    const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
    if (bits === undefined) list.addAddress(address, family);
    else list.addSubnet(address, Number(bits), family);
  }
  return list;
}

/**
 * Returns the addresses in the order in which proxies added them. A proxy may write one of the two headers and pass on
 * the client's value of the other: when they end with different addresses, both are ignored.
 */
function namedIn({ 'x-forwarded-for': plain, forwarded }: IncomingHttpHeaders): string[] {
  const inPlain = addressesIn(typeof plain === 'string' ? plain : plain?.join(','), (part) => part.trim());
  const inForwarded = addressesIn(forwarded, forIn);
  if (inPlain === undefined || inForwarded === undefined) return inPlain ?? inForwarded ?? [];
  return inPlain.at(-1) === inForwarded.at(-1) ? inPlain : [];
}

/** Returns undefined when the header is missing. */
function addressesIn(list: string | undefined, addressIn: (part: string) => string): string[] | undefined {
  if (list === undefined) return undefined;
  if (list.length > MAX_HEADER_CHARS) return [];
  return list.split(',').map((part) => plainAddress(withoutPort(addressIn(part))).toLowerCase());
}

/** Returns the value of `for` in one element of `Forwarded`; empty when it has none. */
function forIn(element: string): string {
  for (const pair of element.split(';')) {
    const [name = '', value = ''] = pair.split('=');
    if (name.trim().toLowerCase() === 'for') return value.trim().replaceAll('"', '');
  }
  return '';
}

/** Removes the port: `[::1]:80` → `::1`, `10.0.0.1:80` → `10.0.0.1`. */
function withoutPort(text: string): string {
  if (text.startsWith('[')) return text.slice(1, Math.max(1, text.indexOf(']')));
  return text.includes('.') && !text.startsWith('::') ? (text.split(':')[0] ?? '') : text;
}

function plainAddress(address: string): string {
  return address.toLowerCase().startsWith('::ffff:') && address.includes('.')
    ? address.slice('::ffff:'.length)
    : address;
}

/**
 * Small worlds for tests of the catalog: servers, listings and groups with the defaults filled in.
 */

import type { CatalogInput } from '../../src/catalog/catalog.ts';
import { buildListing } from '../../src/catalog/listing.ts';
import { assignNames } from '../../src/catalog/names.ts';
import { limitsFrom } from '../../src/config/limits.ts';
import {
  type GroupSpec,
  type Listing,
  type RawListing,
  type ServerSpec,
  wholeListing,
} from '../../src/model/snapshot.ts';

export function serverSpec(slug: string, more: Partial<ServerSpec> = {}): ServerSpec {
  return {
    name: slug,
    slug,
    enabled: true,
    transport: { kind: 'http', url: 'http://127.0.0.1:1/mcp', headers: {}, launch: undefined },
    interactive: false,
    era: 'auto',
    times: { silenceMs: undefined, totalMs: undefined, callTimeoutMs: undefined },
    inFlight: undefined,
    startMs: undefined,
    installMs: undefined,
    tools: {},
    homeHub: 0,
    hash: slug,
    ...more,
  };
}

export function listingOf(server: string, natives: readonly string[]): Listing {
  return wholeListing({
    server,
    atMs: 0,
    digest: natives.join(),
    tools: natives.map((native) => ({
      native,
      json: JSON.stringify({ name: native, inputSchema: { type: 'object' } }),
      title: native,
      repaired: undefined,
      dropStructured: false,
    })),
    hidden: [],
    instructions: '',
  });
}

/** A listing as a server's answer makes it. */
export function listingWith(server: string, tools: readonly unknown[], more: Partial<RawListing> = {}): Listing {
  return buildListing(rawListing(server, { tools: tools.map(bytesOf), ...more }), limitsFrom({}));
}

export function bytesOf(item: unknown): Buffer {
  return Buffer.from(JSON.stringify(item));
}

/** What a link read; nothing, if nothing else is said. */
export function rawListing(server: string, more: Partial<RawListing> = {}): RawListing {
  return {
    ...{
      server,
      atMs: 0,
      tools: [],
      prompts: [],
      resources: [],
      templates: [],
      unread: [],
      isBlank: false,
      declared: [],
      instructions: '',
      spoken: '2025-11-25',
    },
    ...more,
  };
}

export function groupSpec(slug: string, servers: GroupSpec['servers'], more: Partial<GroupSpec> = {}): GroupSpec {
  return { name: slug, slug, access: 'key', servers, tools: {}, ...more };
}

/** Gives names on top of those of the world before. */
export function worldOf(
  servers: readonly ServerSpec[],
  listings: readonly Listing[],
  groups: readonly GroupSpec[] = [],
  before?: CatalogInput,
): CatalogInput {
  return { servers, listings, groups, names: assignNames({ servers, listings, assigned: before?.names ?? [] }) };
}

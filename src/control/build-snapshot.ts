/**
 * From what is desired and what is stored to the world that hubs see.
 * Promises: pure; the same input gives the same world; a group names only servers that exist; revoked keys are not in it.
 */
import { createHash } from 'node:crypto';
import type { Config, GroupConfig, ServerConfig } from '../config/load.ts';
import type { GivenName, GroupSpec, KeyRecord, Listing, ServerSpec, Snapshot } from '../kernel/snapshot.ts';
import type { StoredKey } from '../store/keys.ts';
import type { GivenSlug } from '../store/slugs.ts';
import { slugsByName } from './slugs.ts';

/** What of a configuration is in the world. */
export type BuildConfig = Pick<Config, 'servers' | 'groups' | 'limitOverrides' | 'settings'>;

export interface BuildInput {
  readonly config: BuildConfig;
  readonly slugs: readonly GivenSlug[];
  readonly keys: readonly StoredKey[];
  readonly names: readonly GivenName[];
  /** Of any server, configured or not. */
  readonly listings: Iterable<Listing>;
  /** Number of hub processes. */
  readonly hubs: number;
  readonly revision: number;
  readonly keysRevision: number;
}

export function buildSnapshot(input: BuildInput): Snapshot {
  const servers = serverSpecs(input);
  const configured = new Set(servers.map(({ slug }) => slug));
  return {
    format: 1,
    revision: input.revision,
    keysRevision: input.keysRevision,
    servers,
    groups: groupSpecs(input),
    keys: keyRecords(input.keys),
    listings: [...input.listings].filter(({ server }) => configured.has(server)),
    names: input.names.filter(({ server }) => configured.has(server)),
    limits: input.config.limitOverrides,
    settings: input.config.settings,
  };
}

/** Servers as hubs know them, in the order of the configuration. One without a slug is left out. */
export function serverSpecs(input: Pick<BuildInput, 'config' | 'slugs' | 'hubs'>): ServerSpec[] {
  const slugOf = slugsByName('server', input.slugs);
  return input.config.servers.flatMap((server) => {
    const slug = slugOf.get(server.name);
    if (slug === undefined) return [];
    return { ...server, slug, homeHub: homeHubOf(server, slug, input.hubs), hash: digestOf(dependsOn(server)) };
  });
}

/** What a connection depends on. */
function dependsOn({ transport, era }: ServerConfig): unknown {
  return era === 'auto' ? transport : { transport, era };
}

/** Children are dealt over the hubs by their slug, so that a server that is added moves none of the others. */
function homeHubOf({ transport }: ServerConfig, slug: string, hubs: number): number {
  const hasChild = transport.kind === 'stdio' || (transport.kind === 'http' && transport.launch !== undefined);
  if (!hasChild) return 0;
  return 1 + (createHash('sha256').update(slug).digest().readUInt32BE(0) % Math.max(1, hubs));
}

export function groupSpecs({ config, slugs }: Pick<BuildInput, 'config' | 'slugs'>): GroupSpec[] {
  const serverSlug = slugsByName('server', slugs);
  const configured = new Set(config.servers.map(({ name }) => name));
  const slugOfServer = (name: string) => (configured.has(name) ? serverSlug.get(name) : undefined);
  const groupSlug = slugsByName('group', slugs);
  return config.groups.flatMap((group) => {
    const slug = groupSlug.get(group.name);
    return slug === undefined ? [] : { ...group, slug, ...membersOf(group, slugOfServer) };
  });
}

function membersOf(
  group: GroupConfig,
  slugOfServer: (name: string) => string | undefined,
): Pick<GroupSpec, 'servers' | 'tools'> {
  const tools = Object.entries(group.tools).flatMap(([name, list]) => {
    const slug = slugOfServer(name);
    return slug === undefined ? [] : [[slug, list] as const];
  });
  return {
    servers: group.servers === '*' ? '*' : group.servers.flatMap((name) => slugOfServer(name) ?? []),
    tools: Object.fromEntries(tools),
  };
}

/** Those that are not revoked, as hubs know them. */
export function keyRecords(keys: readonly StoredKey[]): KeyRecord[] {
  return keys.filter(({ revokedAtMs }) => revokedAtMs === undefined).map(recordFrom);
}

function recordFrom(key: StoredKey): KeyRecord {
  const { id, hash, family, userId, userName, role, name, prefix, groups, expiresAtMs } = key;
  return { id, hash, family, userId, userName, role, name, prefix, groups, expiresAtMs };
}

/** Equal for equal content, whatever the order of keys in the file. */
export function digestOf(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value, sortedKeys)).digest('hex').slice(0, 16);
}

function sortedKeys(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/**
 * Builds the snapshot that workers receive, from the configuration and the stored state.
 * Guarantees: pure; the same input gives the same snapshot; a group names only configured servers; revoked keys are
 * left out.
 */
import { createHash } from 'node:crypto';
import type { Config, GroupConfig, ServerConfig } from '../config/load.ts';
import type { GivenName, GroupSpec, KeyRecord, Listing, ServerSpec, Snapshot } from '../model/snapshot.ts';
import type { StoredKey } from '../store/keys.ts';
import type { GivenSlug } from '../store/slugs.ts';
import { slugsByName } from './slugs.ts';

/** The parts of a configuration that a snapshot contains. */
export type BuildConfig = Pick<Config, 'servers' | 'groups' | 'limitOverrides' | 'settings'>;

export interface BuildInput {
  readonly config: BuildConfig;
  readonly slugs: readonly GivenSlug[];
  readonly keys: readonly StoredKey[];
  readonly names: readonly GivenName[];
  /** Listings of any server, configured or not. */
  readonly listings: Iterable<Listing>;
  /** Number of worker processes. */
  readonly workers: number;
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
    keys: validKeyRecords(input.keys),
    listings: [...input.listings].filter(({ server }) => configured.has(server)),
    names: input.names.filter(({ server }) => configured.has(server)),
    limits: input.config.limitOverrides,
    settings: input.config.settings,
  };
}

/** Returns the configured servers in the order of the configuration. A server without a slug is left out. */
export function serverSpecs(input: Pick<BuildInput, 'config' | 'slugs' | 'workers'>): ServerSpec[] {
  const slugOf = slugsByName('server', input.slugs);
  return input.config.servers.flatMap((server) => {
    const slug = slugOf.get(server.name);
    if (slug === undefined) return [];
    return {
      ...server,
      slug,
      homeHub: homeWorker(server, slug, input.workers),
      hash: contentDigest(connectionInputs(server)),
    };
  });
}

/** Returns the settings that require a new connection when they change. */
function connectionInputs({ transport, era }: ServerConfig): unknown {
  return era === 'auto' ? transport : { transport, era };
}

/**
 * Assigns a child process to a worker by the hash of its slug, so that adding a server does not move the others. 0 = no
 * fixed worker.
 */
function homeWorker({ transport }: ServerConfig, slug: string, workers: number): number {
  const hasChild = transport.kind === 'stdio' || (transport.kind === 'http' && transport.launch !== undefined);
  if (!hasChild) return 0;
  return 1 + (createHash('sha256').update(slug).digest().readUInt32BE(0) % Math.max(1, workers));
}

export function groupSpecs({ config, slugs }: Pick<BuildInput, 'config' | 'slugs'>): GroupSpec[] {
  const serverSlug = slugsByName('server', slugs);
  const configured = new Set(config.servers.map(({ name }) => name));
  const slugOfServer = (name: string) => (configured.has(name) ? serverSlug.get(name) : undefined);
  const groupSlug = slugsByName('group', slugs);
  return config.groups.flatMap((group) => {
    const slug = groupSlug.get(group.name);
    return slug === undefined ? [] : { ...group, slug, ...resolveMembers(group, slugOfServer) };
  });
}

function resolveMembers(
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

/** Returns the keys that are not revoked, without the fields that only control needs. */
export function validKeyRecords(keys: readonly StoredKey[]): KeyRecord[] {
  return keys.filter(({ revokedAtMs }) => revokedAtMs === undefined).map(toKeyRecord);
}

function toKeyRecord(key: StoredKey): KeyRecord {
  const { id, hash, family, userId, userName, role, name, prefix, groups, expiresAtMs } = key;
  return { id, hash, family, userId, userName, role, name, prefix, groups, expiresAtMs };
}

/** Returns a digest of `value` (16 hex digits) that does not depend on the order of object keys. */
export function contentDigest(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value, sortedKeys)).digest('hex').slice(0, 16);
}

function sortedKeys(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}

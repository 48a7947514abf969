/**
 * Reads the groups of the file, as an object or in the original's form, an array.
 * Guarantees: a group contains configured servers only; an unknown name is reported with the closest known one.
 * `control/` turns names into short names.
 */
import { closestOf } from './closest.ts';
import type { ConfigPath } from './locate.ts';
import { type Problems, quoted } from './problems.ts';
import type { RawGroup, RawOriginalGroup } from './schema.ts';
import { checkName } from './servers.ts';

export interface GroupConfig {
  readonly name: string;
  readonly access: 'key' | 'anonymous';
  /** Names of servers, or `*` for all. */
  readonly servers: readonly string[] | '*';
  /** Native tool names by server name; a server without an entry provides all its tools. */
  readonly tools: Readonly<Record<string, readonly string[]>>;
}

export interface GroupContext {
  readonly problems: Problems;
  /** All server names in the file, including invalid servers. */
  readonly configured: ReadonlySet<string>;
  /** Servers that this version does not support; they are removed from groups without a message. */
  readonly leftOut: ReadonlySet<string>;
}

export function readGroup(name: string, raw: RawGroup, context: GroupContext): GroupConfig | undefined {
  const { problems, leftOut } = context;
  const path: ConfigPath = ['groups', name];
  if (!checkName(name, path, problems)) return undefined;
  const servers = raw.servers === '*' ? raw.servers : namesOf(raw.servers, [...path, 'servers'], context);
  const tools: Record<string, readonly string[]> = {};
  for (const [server, natives] of Object.entries(raw.tools ?? {})) {
    const place = [...path, 'tools', server];
    if (!checkServer(server, place, { ...context, at: 'key' }) || leftOut.has(server)) continue;
    if (raw.servers !== '*' && !raw.servers.includes(server)) {
      problems.error(place, `${quoted(server)} is not among the servers of this group`, undefined, 'key');
    }
    tools[server] = natives;
  }
  return { name, access: raw.access ?? 'key', servers, tools };
}

/** Reads the original's array, in which a group name may occur twice. */
export function readOriginalGroups(raw: readonly RawOriginalGroup[], context: GroupContext): GroupConfig[] {
  const { problems, configured, leftOut } = context;
  problems.warning(['groups'], 'is the original’s form', '{ "<name>": { "servers": [ … ] } }', 'key');
  const groups = new Map<string, GroupConfig>(); // bounded by: the file
  for (const [at, { name, servers }] of raw.entries()) {
    const path: ConfigPath = ['groups', at];
    if (!checkName(name, [...path, 'name'], problems)) continue;
    if (groups.has(name)) {
      problems.error([...path, 'name'], `a second group ${quoted(name)}`, 'one group of a name');
      continue;
    }
    const members = servers.map((member) => (typeof member === 'string' ? member : member.name));
    const tools: Record<string, readonly string[]> = {};
    for (const member of servers) {
      if (typeof member === 'string' || !Array.isArray(member.tools)) continue;
      if (leftOut.has(member.name) || !configured.has(member.name)) continue;
      tools[member.name] = member.tools;
    }
    groups.set(name, { name, access: 'key', servers: namesOf(members, [...path, 'servers'], context), tools });
  }
  return [...groups.values()];
}

function namesOf(names: readonly string[], path: ConfigPath, context: GroupContext): readonly string[] {
  const members = new Set<string>(); // bounded by: the file
  for (const [at, name] of names.entries()) {
    const place = [...path, at];
    if (!checkServer(name, place, { ...context, at: 'value' })) continue;
    if (members.has(name)) context.problems.warning(place, `${quoted(name)} occurs twice`);
    if (!context.leftOut.has(name)) members.add(name);
  }
  return [...members];
}

function checkServer(
  name: string,
  path: ConfigPath,
  context: GroupContext & { readonly at: 'key' | 'value' },
): boolean {
  if (context.configured.has(name)) return true;
  const meant = context.problems.isFull ? undefined : closestOf(name, context.configured);
  const expected = meant === undefined ? 'a name in mcpServers' : quoted(meant);
  context.problems.error(path, `there is no server ${quoted(name)}`, expected, context.at);
  return false;
}

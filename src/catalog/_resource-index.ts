/**
 * Index of the resources and templates of one server with their addresses; shared by all views.
 * Guarantees: the same object while nothing changes; templates are compiled at first use.
 */
import { createHash } from 'node:crypto';
import type { Listed, Listing } from '../model/snapshot.ts';
import { applyEdits } from './_json-list.ts';
import { RESCAN_LIMITS, scanMembers } from './_members.ts';
import type { FindExposedName } from './_server-index.ts';
import { compileTemplate, type UriTemplate } from './_uri-template.ts';

/** A resource or template with its exposed address. */
export interface AddressedItem {
  readonly listed: Listed;
  /** Exposed address; undefined = the native one. */
  readonly renamed: string | undefined;
}

/** A template that URIs can match. */
export interface CompiledTemplate {
  readonly native: string;
  readonly exposed: string;
  readonly template: UriTemplate;
}

export class ResourceIndex {
  readonly server: string;
  /** Changes when one of the lists does; empty = both lists are empty. */
  readonly digest: string;
  /** The server supports resources/read, with or without listed resources. */
  readonly declares: boolean;
  readonly resources: readonly AddressedItem[];
  readonly templates: readonly AddressedItem[];
  #compiled: readonly CompiledTemplate[] | undefined; // bounded by: serverTools

  constructor(
    server: string,
    digest: string,
    declares: boolean,
    lists: { readonly resources: readonly AddressedItem[]; readonly templates: readonly AddressedItem[] },
  ) {
    this.server = server;
    this.digest = digest;
    this.declares = declares;
    this.resources = lists.resources;
    this.templates = lists.templates;
  }

  get compiledTemplates(): readonly CompiledTemplate[] {
    this.#compiled ??= this.templates.flatMap(({ listed: { native }, renamed = native }) => {
      const template = compileTemplate(native);
      return template === undefined ? [] : [{ native, exposed: renamed, template }];
    });
    return this.#compiled;
  }
}

export function buildResourceIndex(
  server: string,
  listing: Listing | undefined,
  findExposed: FindExposedName,
  before: ResourceIndex | undefined,
): ResourceIndex {
  const { resource = '', template = '' } = listing?.digests ?? {};
  const declares = listing?.declared.includes('resources') ?? false;
  const resources = addressedItems('resource', listing?.resources ?? [], findExposed);
  const templates = addressedItems('template', listing?.templates ?? [], findExposed);
  const digest =
    resource === '' && template === '' ? '' : `${resource}/${template}${addressDigest([...resources, ...templates])}`;
  if (before?.digest === digest && before.declares === declares) return before;
  return new ResourceIndex(server, digest, declares, { resources, templates });
}

/** Returns the items that have an exposed address. */
function addressedItems(
  kind: 'resource' | 'template',
  listed: readonly Listed[],
  findExposed: FindExposedName,
): readonly AddressedItem[] {
  return listed.flatMap((one) => {
    const exposed = findExposed(kind, one.native);
    if (exposed === undefined) return [];
    return [{ listed: one, renamed: exposed === one.native ? undefined : exposed }];
  });
}

/** Returns a digest that changes with the number of addressed rows and with renamed rows, which are rare. */
function addressDigest(rows: readonly AddressedItem[]): string {
  const hash = createHash('sha256').update(String(rows.length));
  for (const { renamed } of rows) if (renamed !== undefined) hash.update(`\n${renamed}`);
  return hash.digest('hex').slice(0, 16);
}

/** Returns the JSON of a resource or template with another address. */
export function replaceAddress({ json }: Listed, key: 'uri' | 'uriTemplate', address: string): Buffer {
  const bytes = Buffer.from(json);
  const member = scanMembers({ bytes, at: 0, end: bytes.length }, RESCAN_LIMITS).members.find((one) => one.key === key);
  const text = JSON.stringify(address);
  // Missing only in a damaged snapshot.
  if (!member) return Buffer.from(`{"${key}":${text},"name":${text}}`);
  return applyEdits(bytes, [{ at: member.at, end: member.end, text }]);
}

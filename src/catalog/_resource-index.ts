/**
 * The resources and templates of one server with their addresses, as every view starts from them.
 * Promises: the same object while nothing has changed; templates are made ready at first use.
 */
import { createHash } from 'node:crypto';
import type { Listed, Listing } from '../kernel/snapshot.ts';
import { edited } from './_json-list.ts';
import { SCANNED_BEFORE, scanMembers } from './_members.ts';
import type { ExposedOf } from './_server-index.ts';
import { compileTemplate, type UriTemplate } from './_uri-template.ts';

/** A resource or template with the address by which clients know it. */
export interface Addressed {
  readonly listed: Listed;
  /** Undefined = its own. */
  readonly renamed: string | undefined;
}

/** A template that some URIs fit. */
export interface ReadyTemplate {
  readonly native: string;
  readonly exposed: string;
  readonly ready: UriTemplate;
}

export class ResourceShelf {
  readonly server: string;
  /** Changes when one of the two lists does; empty = both are. */
  readonly digest: string;
  /** It serves resources/read, listed or not. */
  readonly declares: boolean;
  readonly resources: readonly Addressed[];
  readonly templates: readonly Addressed[];
  #ready: readonly ReadyTemplate[] | undefined; // bounded by: serverTools

  constructor(
    server: string,
    digest: string,
    declares: boolean,
    lists: { readonly resources: readonly Addressed[]; readonly templates: readonly Addressed[] },
  ) {
    this.server = server;
    this.digest = digest;
    this.declares = declares;
    this.resources = lists.resources;
    this.templates = lists.templates;
  }

  get ready(): readonly ReadyTemplate[] {
    this.#ready ??= this.templates.flatMap(({ listed: { native }, renamed = native }) => {
      const ready = compileTemplate(native);
      return ready === undefined ? [] : [{ native, exposed: renamed, ready }];
    });
    return this.#ready;
  }
}

export function fillResourceShelf(
  server: string,
  listing: Listing | undefined,
  exposedOf: ExposedOf,
  before: ResourceShelf | undefined,
): ResourceShelf {
  const { resource = '', template = '' } = listing?.digests ?? {};
  const declares = listing?.declared.includes('resources') ?? false;
  const resources = addressed('resource', listing?.resources ?? [], exposedOf);
  const templates = addressed('template', listing?.templates ?? [], exposedOf);
  const digest =
    resource === '' && template === '' ? '' : `${resource}/${template}${digestOf([...resources, ...templates])}`;
  if (before?.digest === digest && before.declares === declares) return before;
  return new ResourceShelf(server, digest, declares, { resources, templates });
}

/** What has no address yet is not shown yet. */
function addressed(
  kind: 'resource' | 'template',
  listed: readonly Listed[],
  exposedOf: ExposedOf,
): readonly Addressed[] {
  return listed.flatMap((one) => {
    const exposed = exposedOf(kind, one.native);
    if (exposed === undefined) return [];
    return [{ listed: one, renamed: exposed === one.native ? undefined : exposed }];
  });
}

/** Changes with the number of rows that have an address, and with those that are renamed; nearly always there are none of them. */
function digestOf(rows: readonly Addressed[]): string {
  const hash = createHash('sha256').update(String(rows.length));
  for (const { renamed } of rows) if (renamed !== undefined) hash.update(`\n${renamed}`);
  return hash.digest('hex').slice(0, 16);
}

/** The resource's or template's JSON with another address in it. */
export function withAddress({ json }: Listed, key: 'uri' | 'uriTemplate', address: string): Buffer {
  const bytes = Buffer.from(json);
  const member = scanMembers({ bytes, at: 0, end: bytes.length }, SCANNED_BEFORE).members.find(
    (one) => one.key === key,
  );
  const text = JSON.stringify(address);
  // Only a damaged snapshot has none.
  if (!member) return Buffer.from(`{"${key}":${text},"name":${text}}`);
  return edited(bytes, [{ at: member.at, end: member.end, text }]);
}

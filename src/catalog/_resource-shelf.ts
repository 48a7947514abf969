/**
 * The resources and templates of one server, as every view starts from them.
 * Promises: the same object while nothing has changed; templates are made ready at first use.
 */
import type { Listed, Listing } from '../kernel/snapshot.ts';
import { edited } from './_json-list.ts';
import { SCANNED_BEFORE, scanMembers } from './_members.ts';
import { compileTemplate, type UriTemplate } from './_uri-template.ts';

/** A template that some URIs fit. */
export interface ReadyTemplate {
  readonly native: string;
  readonly ready: UriTemplate;
}

export class ResourceShelf {
  readonly server: string;
  /** Changes when one of the two lists does; empty = both are. */
  readonly digest: string;
  /** It serves resources/read, listed or not. */
  readonly declares: boolean;
  readonly resources: readonly Listed[];
  readonly templates: readonly Listed[];
  #ready: readonly ReadyTemplate[] | undefined; // bounded by: serverTools

  constructor(server: string, digest: string, listing: Listing | undefined) {
    this.server = server;
    this.digest = digest;
    this.declares = listing?.declared.includes('resources') ?? false;
    this.resources = listing?.resources ?? [];
    this.templates = listing?.templates ?? [];
  }

  get ready(): readonly ReadyTemplate[] {
    this.#ready ??= this.templates.flatMap(({ native }) => {
      const ready = compileTemplate(native);
      return ready === undefined ? [] : [{ native, ready }];
    });
    return this.#ready;
  }
}

export function fillResourceShelf(
  server: string,
  listing: Listing | undefined,
  before: ResourceShelf | undefined,
): ResourceShelf {
  const { resource = '', template = '' } = listing?.digests ?? {};
  const digest = resource === '' && template === '' ? '' : `${resource}/${template}`;
  const declares = listing?.declared.includes('resources') ?? false;
  if (before?.digest === digest && before.declares === declares) return before;
  return new ResourceShelf(server, digest, listing);
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

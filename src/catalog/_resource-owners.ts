/**
 * Finds the server of a URI that no server of a view lists: the one whose matching template was assigned first.
 * Guarantees: a template without fixed scheme or authority takes no URI of a scheme or authority of another server;
 * matching costs each server at most its share of `STEPS`, so that many templates of one server do not affect others
 * (finding SR-M4).
 */
import type { GivenName } from '../model/snapshot.ts';
import type { CompiledTemplate, ResourceIndex } from './_resource-index.ts';
import { fixedPrefix, hasPrefix, matchCost, matchesTemplate } from './_uri-template.ts';

/** Longer URIs match no template. */
const URI_LENGTH = 4096;
/** Characters examined for one URI in all templates: a few milliseconds at most. */
const STEPS = 1_000_000;
const SCHEME = /^[A-Za-z][A-Za-z0-9+.-]{0,63}:/;

/** Assigned addresses: the position of each (0 = oldest), and all of them. */
export interface AssignedAddresses {
  ageOf(kind: 'resource' | 'template', exposed: string): number | undefined;
  all(): Iterable<GivenName>;
}

interface Candidate extends CompiledTemplate {
  readonly server: string;
  readonly age: number;
}

export class ResourceOwners {
  /** Oldest first. */
  readonly #candidates: readonly Candidate[];
  readonly #stepsEach: number;
  /** By scheme, and by scheme with authority: the only server that uses it; '' = several do. */
  readonly #originOwners = new Map<string, string>(); // bounded by: servers × serverTools × 2

  constructor(indexes: readonly ResourceIndex[], given: AssignedAddresses) {
    this.#candidates = indexes
      .flatMap(({ server, compiledTemplates }) =>
        compiledTemplates.map((one) => ({
          ...one,
          server,
          age: given.ageOf('template', one.exposed) ?? Number.MAX_SAFE_INTEGER,
        })),
      )
      .sort((a, b) => a.age - b.age);
    const servers = new Set(this.#candidates.map(({ server }) => server)); // bounded by: servers
    this.#stepsEach = Math.floor(STEPS / Math.max(1, servers.size));
    const inView = new Set(indexes.map(({ server }) => server)); // bounded by: servers
    // Also addresses that a server listed before: they stay its own.
    for (const { kind, server, native, exposed } of given.all()) {
      if (!inView.has(server) || exposed !== native) continue;
      if (kind === 'resource') this.#addOrigins(server, native);
      else if (kind === 'template') this.#addOrigins(server, native.split('{', 1)[0] ?? '');
    }
  }

  /** Returns the slug of the server; undefined = no template matches. */
  findOwner(uri: string): string | undefined {
    if (uri.length > URI_LENGTH) return undefined;
    const spent = new Map<string, number>(); // bounded by: servers
    for (const { server, template } of this.#candidates) {
      if (!hasPrefix(template, uri)) continue;
      const steps = (spent.get(server) ?? 0) + matchCost(template, uri);
      if (steps > this.#stepsEach) continue;
      spent.set(server, steps);
      if (matchesTemplate(template, uri) && !this.#belongsToOther(server, fixedPrefix(template), uri)) return server;
    }
    return undefined;
  }

  #addOrigins(server: string, text: string): void {
    for (const origin of parseOrigins(text)) {
      const holder = this.#originOwners.get(origin);
      if (holder === undefined) this.#originOwners.set(origin, server);
      else if (holder !== server) this.#originOwners.set(origin, '');
    }
  }

  /** Returns whether another server uses a scheme or authority that the template leaves open. */
  #belongsToOther(server: string, prefix: string, uri: string): boolean {
    return parseOrigins(uri).some((origin) => {
      if (prefix.toLowerCase().startsWith(origin)) return false;
      const holder = this.#originOwners.get(origin);
      return holder !== undefined && holder !== server;
    });
  }
}

/** Returns `https:` and `https://host/`, as far as the text contains them. */
function parseOrigins(text: string): string[] {
  const scheme = SCHEME.exec(text)?.[0].toLowerCase();
  if (scheme === undefined) return [];
  if (!text.startsWith('//', scheme.length)) return [scheme];
  const slash = text.indexOf('/', scheme.length + 2);
  return slash < 0 ? [scheme] : [scheme, text.slice(0, slash + 1).toLowerCase()];
}

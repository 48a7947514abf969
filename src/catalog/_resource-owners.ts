/**
 * Which server a URI that no server of a view lists belongs to: the one whose fitting template was given its address first.
 * Promises: a template that fixes no scheme or no authority takes no URI of a scheme or authority of another server; a server's templates cost
 * at most its own share of `STEPS`, so that many templates of one server take nothing from the others (SR-M4).
 */
import type { GivenName } from '../kernel/snapshot.ts';
import type { ReadyTemplate, ResourceShelf } from './_resource-index.ts';
import { beginsLike, costOf, fitsTemplate, prefixOf } from './_uri-template.ts';

/** A longer URI is compared with no template. */
const URI_LENGTH = 4096;
/** Characters looked at for one URI in all templates together: some milliseconds at worst. */
const STEPS = 1_000_000;
const SCHEME = /^[A-Za-z][A-Za-z0-9+.-]{0,63}:/;

/** What is known of given addresses: position among all, oldest first, and all of them. */
export interface GivenAddresses {
  ageOf(kind: 'resource' | 'template', exposed: string): number | undefined;
  all(): Iterable<GivenName>;
}

interface Candidate extends ReadyTemplate {
  readonly server: string;
  readonly age: number;
}

export class ResourceOwners {
  /** Oldest first. */
  readonly #candidates: readonly Candidate[];
  readonly #stepsEach: number;
  /** By scheme, and by scheme with authority: the one server that uses it; '' = more than one. */
  readonly #claims = new Map<string, string>(); // bounded by: servers × serverTools × 2

  constructor(shelves: readonly ResourceShelf[], given: GivenAddresses) {
    this.#candidates = shelves
      .flatMap(({ server, ready }) =>
        ready.map((one) => ({ ...one, server, age: given.ageOf('template', one.exposed) ?? Number.MAX_SAFE_INTEGER })),
      )
      .sort((a, b) => a.age - b.age);
    const servers = new Set(this.#candidates.map(({ server }) => server)); // bounded by: servers
    this.#stepsEach = Math.floor(STEPS / Math.max(1, servers.size));
    const inView = new Set(shelves.map(({ server }) => server)); // bounded by: servers
    // Also what a server has listed before: its addresses stay its own.
    for (const { kind, server, native, exposed } of given.all()) {
      if (!inView.has(server) || exposed !== native) continue;
      if (kind === 'resource') this.#claim(server, native);
      else if (kind === 'template') this.#claim(server, native.split('{', 1)[0] ?? '');
    }
  }

  /** Slug of the server to ask; undefined = no template fits. */
  ownerOf(uri: string): string | undefined {
    if (uri.length > URI_LENGTH) return undefined;
    const spent = new Map<string, number>(); // bounded by: servers
    for (const { server, ready } of this.#candidates) {
      if (!beginsLike(ready, uri)) continue;
      const steps = (spent.get(server) ?? 0) + costOf(ready, uri);
      if (steps > this.#stepsEach) continue;
      spent.set(server, steps);
      if (fitsTemplate(ready, uri) && !this.#isOthers(server, prefixOf(ready), uri)) return server;
    }
    return undefined;
  }

  #claim(server: string, text: string): void {
    for (const origin of originsIn(text)) {
      const holder = this.#claims.get(origin);
      if (holder === undefined) this.#claims.set(origin, server);
      else if (holder !== server) this.#claims.set(origin, '');
    }
  }

  /** Whether a scheme or authority that the template leaves open is in use by another server. */
  #isOthers(server: string, prefix: string, uri: string): boolean {
    return originsIn(uri).some((origin) => {
      if (prefix.toLowerCase().startsWith(origin)) return false;
      const holder = this.#claims.get(origin);
      return holder !== undefined && holder !== server;
    });
  }
}

/** `https:` and `https://host/`, as far as the text fixes them. */
function originsIn(text: string): string[] {
  const scheme = SCHEME.exec(text)?.[0].toLowerCase();
  if (scheme === undefined) return [];
  if (!text.startsWith('//', scheme.length)) return [scheme];
  const slash = text.indexOf('/', scheme.length + 2);
  return slash < 0 ? [scheme] : [scheme, text.slice(0, slash + 1).toLowerCase()];
}

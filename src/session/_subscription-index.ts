/**
 * Finds the sessions that are subscribed to a resource, without iterating over all sessions.
 * Guarantees: an update looks up its URI and at most `PARENTS` containing paths, however many sessions and
 * subscriptions there are.
 */

export interface Subscription {
  readonly server: string;
  /** Native URI. */
  readonly uri: string;
  /** URI that the client used, where it differs. */
  readonly named: string;
}

export interface Subscriber {
  readonly id: string;
  readonly named: string;
}

/** Maximum number of containing paths that are looked up for one URI. */
const PARENTS = 64;
const SLASH = '/';

export class SubscriptionIndex {
  /** By server, then by URI: the URI that each session used. */
  // bounded by: the subscriptions of `session.notes`
  readonly #servers = new Map<string, Map<string, Map<string, string>>>();

  add(id: string, { server, uri, named }: Subscription): void {
    const uris = this.#servers.get(server) ?? new Map<string, Map<string, string>>();
    this.#servers.set(server, uris);
    const sessions = uris.get(uri);
    if (sessions) sessions.set(id, named);
    else uris.set(uri, new Map([[id, named]]));
  }

  delete(id: string, { server, uri }: Subscription): void {
    const uris = this.#servers.get(server);
    const sessions = uris?.get(uri);
    if (!uris || !sessions?.delete(id) || sessions.size > 0) return;
    uris.delete(uri);
    if (uris.size === 0) this.#servers.delete(server);
  }

  has(server: string, uri: string): boolean {
    return this.#servers.get(server)?.has(uri) === true;
  }

  subscribedUris(server: string): Iterable<string> {
    return this.#servers.get(server)?.keys() ?? [];
  }

  /** Returns the subscribers of this resource or of a path that contains it, each session once. */
  subscribers(server: string, uri: string): Subscriber[] {
    const uris = this.#servers.get(server);
    if (!uris) return [];
    const found = new Map(uris.get(uri));
    let at = uri.indexOf(SLASH);
    for (let looked = 0; at >= 0 && looked < PARENTS; looked += 1) {
      for (const parent of [uri.slice(0, at), uri.slice(0, at + 1)])
        if (parent !== uri) for (const id of uris.get(parent)?.keys() ?? []) if (!found.has(id)) found.set(id, uri);
      at = uri.indexOf(SLASH, at + 1);
    }
    return [...found].map(([id, named]) => ({ id, named }));
  }
}

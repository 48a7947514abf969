/**
 * Which sessions are subscribed to a resource of a server, found without a walk over all sessions.
 * Guarantees: an update looks up its URI and at most `PARENTS` paths that contain it, however many sessions and subscriptions there are.
 */

export interface Subscription {
  readonly server: string;
  /** As the server knows it. */
  readonly uri: string;
  /** As the client named it, where that is another one. */
  readonly named: string;
}

export interface Subscriber {
  readonly id: string;
  readonly named: string;
}

/** Containing paths of one URI that are looked up. */
const PARENTS = 64;
const SLASH = '/';

export class SubscriptionIndex {
  /** By server, then by URI: the name under which each session knows it. */
  readonly #servers = new Map<string, Map<string, Map<string, string>>>(); // bounded by: the subscriptions of `session.notes`

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

  urisOf(server: string): Iterable<string> {
    return this.#servers.get(server)?.keys() ?? [];
  }

  /** Subscribers of this resource or of a path that contains it, each session once. */
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

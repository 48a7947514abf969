/**
 * The URIs by which clients know resources whose own URI is taken: `mcphub://<slug>/…`.
 * A resource's URI stands percent-encoded behind the slug. A template's text stands there as it is, so that what a client makes of it is the
 * server's own URI again once the beginning is off. The two are told apart by the colon of the scheme, which encoding takes away.
 */
const SCHEME = 'mcphub://';
/** A scheme's colon, not encoded: what follows the slug is a URI as it is. */
const PLAIN = /^[A-Za-z][A-Za-z0-9+.-]{0,63}:/;

/** A server's own URIs of this scheme are always wrapped: none may pass for the hub's. */
export function isOurs(uri: string): boolean {
  return uri.slice(0, SCHEME.length).toLowerCase() === SCHEME;
}

export function exposedUri(server: string, uri: string): string {
  return `${SCHEME}${server}/${encodeURIComponent(uri.toWellFormed())}`;
}

export function exposedTemplate(server: string, template: string): string {
  return `${SCHEME}${server}/${template}`;
}

/** The server and its own URI (or template) behind one of ours; undefined = it is none. */
export function nativeUri(exposed: string): { readonly server: string; readonly native: string } | undefined {
  if (!isOurs(exposed)) return undefined;
  const slash = exposed.indexOf('/', SCHEME.length);
  if (slash < 0) return undefined;
  const rest = exposed.slice(slash + 1);
  const native = PLAIN.test(rest) || rest.startsWith('{') ? rest : decoded(rest);
  return native === undefined || native === '' ? undefined : { server: exposed.slice(SCHEME.length, slash), native };
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

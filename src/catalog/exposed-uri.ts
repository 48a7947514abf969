/**
 * URIs under which clients see resources whose native URI is already taken: `mcphub://<slug>/…`.
 * A resource's URI follows the slug percent-encoded. A template follows unencoded, so that a URI that a client expands
 * from it contains the native URI. The colon of the scheme tells them apart, as encoding replaces it.
 */
const SCHEME = 'mcphub://';
/** A scheme with an unencoded colon: what follows the slug is an unencoded URI. */
const UNENCODED = /^[A-Za-z][A-Za-z0-9+.-]{0,63}:/;

/**
 * Returns whether a URI has the scheme of the hub. Native URIs of this scheme are always wrapped: none may imitate the
 * hub's.
 */
export function isHubUri(uri: string): boolean {
  return uri.slice(0, SCHEME.length).toLowerCase() === SCHEME;
}

export function exposedUri(server: string, uri: string): string {
  return `${SCHEME}${server}/${encodeURIComponent(uri.toWellFormed())}`;
}

export function exposedTemplate(server: string, template: string): string {
  return `${SCHEME}${server}/${template}`;
}

/** Returns server and native URI (or template) of an exposed URI; undefined = it is not one. */
export function nativeUri(exposed: string): { readonly server: string; readonly native: string } | undefined {
  if (!isHubUri(exposed)) return undefined;
  const slash = exposed.indexOf('/', SCHEME.length);
  if (slash < 0) return undefined;
  const rest = exposed.slice(slash + 1);
  const native = UNENCODED.test(rest) || rest.startsWith('{') ? rest : decodeUri(rest);
  return native === undefined || native === '' ? undefined : { server: exposed.slice(SCHEME.length, slash), native };
}

function decodeUri(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

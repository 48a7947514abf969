/**
 * Cookies that one server has set on one pool: load balancers keep clients at an instance by them. RFC 6265.
 * Guarantees: at most 20 of 4 KiB, the oldest goes first; they belong to the pool, so to one connection, one credential and one origin, and are never
 * logged; names and values are visible ASCII.
 * Does not: expire them by time: they end with the pool, or when the server removes them.
 */
import { isHeaderName } from './header-value.ts';

const MAX_COOKIES = 20;
const MAX_COOKIE_BYTES = 4096;
const VALUE = /^[!-+\--:<-[\]-~]*$/;

export class CookieJar {
  readonly #url: URL;
  readonly #cookies = new Map<string, string>(); // bounded by: MAX_COOKIES
  #header: string | undefined;

  constructor(url: URL) {
    this.#url = url;
  }

  /** The header value that gives them back; undefined = none. The same string until they change. */
  get header(): string | undefined {
    return this.#header;
  }

  /** Takes the Set-Cookie fields of an answer, as far as they are meant for this origin and the path of `target`, a request target. */
  take(fields: string | readonly string[], target: string): void {
    const path = URL.parse(target, this.#url.href)?.pathname ?? '/';
    for (const field of typeof fields === 'string' ? [fields] : fields) this.#takeOne(field, path);
    const pairs = [...this.#cookies].map(([name, value]) => `${name}=${value}`);
    this.#header = pairs.length === 0 ? undefined : pairs.join('; ');
  }

  #takeOne(field: string, path: string): void {
    const [pair = '', ...attributes] = field.split(';');
    const at = pair.indexOf('=');
    const name = pair.slice(0, Math.max(at, 0)).trim();
    const value = pair.slice(at + 1).trim();
    if (!isHeaderName(name) || !VALUE.test(value) || name.length + value.length > MAX_COOKIE_BYTES) return;
    const about = new Map(attributes.map(attributeOf)); // bounded by: the header byte limit
    if (!this.#isMeant(about, path)) return;
    this.#cookies.delete(name);
    if (isRemoved(about)) return;
    this.#cookies.set(name, value);
    const [oldest] = this.#cookies.keys();
    if (this.#cookies.size > MAX_COOKIES && oldest !== undefined) this.#cookies.delete(oldest);
  }

  #isMeant(about: ReadonlyMap<string, string>, path: string): boolean {
    const { hostname, protocol } = this.#url;
    if (about.has('secure') && protocol !== 'https:') return false;
    const domain = about.get('domain')?.toLowerCase().replace(/^\./, '') ?? '';
    if (domain !== '' && hostname !== domain && !hostname.endsWith(`.${domain}`)) return false;
    const of = about.get('path') ?? '';
    if (!of.startsWith('/') || path === of) return true;
    return path.startsWith(of.endsWith('/') ? of : `${of}/`);
  }
}

function attributeOf(text: string): [string, string] {
  const at = text.indexOf('=');
  if (at < 0) return [text.trim().toLowerCase(), ''];
  return [text.slice(0, at).trim().toLowerCase(), text.slice(at + 1).trim()];
}

/** Max-Age counts before Expires. */
function isRemoved(about: ReadonlyMap<string, string>): boolean {
  const age = about.get('max-age');
  if (age !== undefined && /^-?\d+$/.test(age)) return Number(age) <= 0;
  // Servers remove cookies by a date long past; sooner ones are not compared with a clock that may be wrong.
  return Date.parse(about.get('expires') ?? '') < Date.UTC(2001, 0);
}

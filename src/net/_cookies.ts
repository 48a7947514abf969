/**
 * Cookies that one server set in one pool (RFC 6265). Load balancers use them to keep a client at one instance.
 * Guarantees: at most 20 cookies of 4 KiB, the oldest is dropped first; they are used only for this pool, so for one
 * connection, credential and origin, and are never logged; names and values are visible ASCII; a cookie expires by
 * Max-Age, else Expires, and with the pool.
 */
import type { Clock } from '../runtime/clock.ts';
import { isHeaderName } from './header-value.ts';

const MAX_COOKIES = 20;
const MAX_COOKIE_BYTES = 4096;
const VALUE = /^[!-+\--:<-[\]-~]*$/;

interface Cookie {
  readonly value: string;
  /** Expiry on the monotonic clock in ms; undefined when the cookie lasts as long as the pool. */
  readonly endMs: number | undefined;
}

export class CookieJar {
  readonly #url: URL;
  readonly #clock: Clock;
  readonly #cookies = new Map<string, Cookie>(); // bounded by: MAX_COOKIES
  #header: string | undefined;
  /** Next expiry; undefined when no cookie expires. */
  #soonestMs: number | undefined;

  constructor(url: URL, clock: Clock) {
    this.#url = url;
    this.#clock = clock;
  }

  /** The value of the Cookie header, or undefined when there are no cookies. The same string until they change. */
  get header(): string | undefined {
    if (this.#soonestMs !== undefined && this.#clock.nowMs() >= this.#soonestMs) this.#write();
    return this.#header;
  }

  /**
   * Stores the Set-Cookie fields of a response that apply to this origin and to the path of `target`, a request target.
   * `date` is the Date of the response; Expires is read relative to it.
   */
  take(fields: string | readonly string[], target: string, date: string): void {
    const path = URL.parse(target, this.#url.href)?.pathname ?? '/';
    const serverMs = Date.parse(date) || this.#clock.wallMs();
    for (const field of typeof fields === 'string' ? [fields] : fields) this.#takeOne(field, path, serverMs);
    this.#write();
  }

  #write(): void {
    const nowMs = this.#clock.nowMs();
    this.#soonestMs = undefined;
    for (const [name, { endMs }] of this.#cookies) {
      if (endMs === undefined) continue;
      if (endMs <= nowMs) this.#cookies.delete(name);
      else this.#soonestMs = Math.min(this.#soonestMs ?? endMs, endMs);
    }
    const pairs = [...this.#cookies].map(([name, { value }]) => `${name}=${value}`);
    this.#header = pairs.length === 0 ? undefined : pairs.join('; ');
  }

  #takeOne(field: string, path: string, serverMs: number): void {
    const [pair = '', ...attributes] = field.split(';');
    const at = pair.indexOf('=');
    const name = pair.slice(0, Math.max(at, 0)).trim();
    const value = pair.slice(at + 1).trim();
    if (!isHeaderName(name) || !VALUE.test(value) || name.length + value.length > MAX_COOKIE_BYTES) return;
    const about = new Map(attributes.map(attributeOf)); // bounded by: the header byte limit
    if (!this.#isMeant(about, path)) return;
    this.#cookies.delete(name);
    const lifeMs = lifeOf(about, serverMs);
    if (lifeMs !== undefined && lifeMs <= 0) return;
    this.#cookies.set(name, { value, endMs: lifeMs === undefined ? undefined : this.#clock.nowMs() + lifeMs });
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

/**
 * Returns the lifetime in ms, by Max-Age before Expires; undefined when the cookie lasts as long as the pool.
 * `serverMs` is the current time on the server's clock, in ms since 1970.
 */
function lifeOf(about: ReadonlyMap<string, string>, serverMs: number): number | undefined {
  const age = about.get('max-age');
  if (age !== undefined && /^-?\d+$/.test(age)) return Number(age) * 1000;
  const endMs = Date.parse(about.get('expires') ?? '');
  return Number.isNaN(endMs) ? undefined : endMs - serverMs;
}

/**
 * Cookies that one server has set on one pool: load balancers keep clients at an instance by them. RFC 6265.
 * Guarantees: at most 20 of 4 KiB, the oldest goes first; they belong to the pool, so to one connection, one credential and one origin, and are never
 * logged; names and values are visible ASCII; one ends when its server says (Max-Age, else Expires), and with the pool.
 */
import type { Clock } from '../runtime/clock.ts';
import { isHeaderName } from './header-value.ts';

const MAX_COOKIES = 20;
const MAX_COOKIE_BYTES = 4096;
const VALUE = /^[!-+\--:<-[\]-~]*$/;

interface Cookie {
  readonly value: string;
  /** On the monotonic clock, ms; undefined = with the pool. */
  readonly endMs: number | undefined;
}

export class CookieJar {
  readonly #url: URL;
  readonly #clock: Clock;
  readonly #cookies = new Map<string, Cookie>(); // bounded by: MAX_COOKIES
  #header: string | undefined;
  /** When the next one ends; undefined = none does by itself. */
  #soonestMs: number | undefined;

  constructor(url: URL, clock: Clock) {
    this.#url = url;
    this.#clock = clock;
  }

  /** The header value that gives them back; undefined = none. The same string until they change. */
  get header(): string | undefined {
    if (this.#soonestMs !== undefined && this.#clock.nowMs() >= this.#soonestMs) this.#write();
    return this.#header;
  }

  /**
   * Takes the Set-Cookie fields of an answer, as far as they are meant for this origin and the path of `target`, a request target. `date` = the Date of the answer,
   * by which its Expires is read.
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

/** ms; Max-Age counts before Expires. undefined = it ends with the pool. `serverMs` = now on the server's clock, ms since 1970. */
function lifeOf(about: ReadonlyMap<string, string>, serverMs: number): number | undefined {
  const age = about.get('max-age');
  if (age !== undefined && /^-?\d+$/.test(age)) return Number(age) * 1000;
  const endMs = Date.parse(about.get('expires') ?? '');
  return Number.isNaN(endMs) ? undefined : endMs - serverMs;
}

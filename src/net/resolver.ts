/**
 * Resolves names to addresses. Order: IP literal, localhost, hosts file, cache, DNS, then results that are up to an
 * hour old.
 * Guarantees: every look-up ends within `dnsMs`; an unresponsive name does not delay others; concurrent look-ups of one
 * name share one query; the cache and the number of queries are limited. `address-class.ts` checks the addresses.
 */
import { isIP, type LookupFunction } from 'node:net';
import { HubError } from '../model/errors.ts';
import { CappedMap } from '../runtime/capped.ts';
import type { Deadline } from '../runtime/deadline.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { type DnsAnswer, type DnsAsker, isNoSuchName } from './_ask-dns.ts';
import type { NameFiles } from './_name-files.ts';
import type { Address } from './address-class.ts';
import { faultCode } from './errors.ts';

export interface Resolver {
  /** Returns at least one address. Throws `upstream-dns`, or `overloaded` when too many queries are open. */
  resolve(name: string, deadline: Deadline): Promise<readonly Address[]>;
  /** The same for `net.connect`; limited by `dnsMs` alone. */
  readonly lookup: LookupFunction;
}

export interface ResolverOptions {
  readonly runtime: Runtime;
  /** Returns limits.dnsMs. */
  readonly dnsMs: () => number;
  readonly dns: DnsAsker;
  readonly files: NameFiles;
}

const MIN_TTL_MS = 30_000;
const MAX_TTL_MS = 300_000;
/** Time in ms for which a name that does not exist, or could not be queried, is not queried again. */
const NEGATIVE_MS = 2000;
const STALE_MS = 3_600_000;
/** Time in ms that a known result waits for a fresh one. */
const FRESHER_MS = 250;
const MAX_NAMES = 2000;
const MAX_QUESTIONS = 256;

const LOCALHOST: readonly Address[] = [
  { address: '127.0.0.1', family: 4 },
  { address: '::1', family: 6 },
];

interface Known {
  /** Empty when the name is known to have no address. */
  readonly addresses: readonly Address[];
  readonly freshUntilMs: number;
  readonly staleUntilMs: number;
  readonly fault: HubError | undefined;
}

export function createResolver(options: ResolverOptions): Resolver {
  return new CachingResolver(options);
}

class CachingResolver implements Resolver {
  readonly #options: ResolverOptions;
  readonly #known: CappedMap<string, Known>;
  readonly #questions: CappedMap<string, Promise<readonly Address[]>>;
  #generation = 0;

  constructor(options: ResolverOptions) {
    this.#options = options;
    this.#known = new CappedMap('net.names', MAX_NAMES, 'drop-oldest', options.runtime.ceilings);
    this.#questions = new CappedMap('net.questions', MAX_QUESTIONS, 'refuse', options.runtime.ceilings);
  }

  async resolve(given: string, deadline: Deadline): Promise<readonly Address[]> {
    const name = given.replace(/^\[|\]$/g, '');
    const family = isIP(name);
    if (family === 4 || family === 6) return [{ address: name, family }];
    const host = name.toLowerCase();
    if (host === 'localhost' || host.endsWith('.localhost')) return LOCALHOST;
    const { files, runtime } = this.#options;
    await files.ready();
    const written = files.find(host);
    if (written) return written;
    const nowMs = runtime.clock.nowMs();
    const known = this.#known.get(host);
    if (known && nowMs < known.freshUntilMs) {
      if (known.fault) throw known.fault;
      return known.addresses;
    }
    const stale = known && known.addresses.length > 0 && nowMs < known.staleUntilMs ? known.addresses : undefined;
    return this.#await(host, stale, deadline);
  }

  readonly lookup: LookupFunction = (name, options, callback) => {
    const deadline = this.#options.runtime.deadline(this.#options.dnsMs());
    this.resolve(name, deadline).then(
      (all) => {
        deadline[Symbol.dispose]();
        const wanted =
          options.family === 4 || options.family === 'IPv4'
            ? 4
            : options.family === 6 || options.family === 'IPv6'
              ? 6
              : 0;
        const fit = wanted === 0 ? all : all.filter((entry) => entry.family === wanted);
        const first = fit[0];
        if (!first) callback(unresolved(name, 'no address of the wanted family', undefined), '', 0);
        else if (options.all) callback(null, [...fit]);
        else callback(null, first.address, first.family);
      },
      (fault: Error) => {
        deadline[Symbol.dispose]();
        callback(fault, '', 0);
      },
    );
  };

  async #await(host: string, stale: readonly Address[] | undefined, deadline: Deadline): Promise<readonly Address[]> {
    const { runtime } = this.#options;
    const dnsMs = this.#options.dnsMs();
    const question = this.#question(host);
    using wait = deadline.sooner(stale ? Math.min(FRESHER_MS, dnsMs) : dnsMs);
    try {
      return await runtime.waits.for(question, { label: 'dns', owner: host, deadline: wait });
    } catch (fault) {
      if (stale && !isNoSuchName(fault instanceof HubError ? fault.cause : fault)) return stale;
      if (fault instanceof HubError && fault.code === 'wait-expired')
        throw unresolved(host, 'no answer in time', fault);
      throw fault;
    }
  }

  /** Shares one query per name; it continues for later callers when the first one gives up. */
  #question(host: string): Promise<readonly Address[]> {
    const open = this.#questions.get(host);
    if (open !== undefined) return open;
    if (this.#questions.size >= MAX_QUESTIONS)
      throw new HubError('overloaded', { message: 'Too many names are being resolved.', detail: { phase: 'dns' } });
    const question = this.#ask(host).finally(() => this.#questions.delete(host));
    this.#questions.set(host, question);
    question.catch(() => {}); // its callers handle the rejection; there may be none left
    return question;
  }

  async #ask(host: string): Promise<readonly Address[]> {
    const { runtime, dnsMs, dns, files } = this.#options;
    if (files.generation !== this.#generation) {
      this.#generation = files.generation;
      dns.renew();
    }
    using deadline = runtime.deadline(dnsMs());
    let last: unknown;
    for (const candidate of files.candidates(host)) {
      try {
        const answers = await runtime.waits.for(dns.ask(candidate), { label: 'dns', owner: host, deadline });
        if (answers.length > 0) return this.#remember(host, answers);
      } catch (fault) {
        last = fault;
        if (!isNoSuchName(fault)) break;
      }
    }
    return this.#rememberFailure(host, last);
  }

  #remember(host: string, answers: readonly DnsAnswer[]): readonly Address[] {
    const nowMs = this.#options.runtime.clock.nowMs();
    const addresses = answers.map(({ address, family }) => ({ address, family }));
    const ttlMs = Math.min(...answers.map((answer) => answer.ttlS)) * 1000;
    const freshUntilMs = nowMs + Math.min(Math.max(ttlMs, MIN_TTL_MS), MAX_TTL_MS);
    this.#known.set(host, { addresses, freshUntilMs, staleUntilMs: freshUntilMs + STALE_MS, fault: undefined });
    return addresses;
  }

  #rememberFailure(host: string, cause: unknown): readonly Address[] {
    const nowMs = this.#options.runtime.clock.nowMs();
    const before = this.#known.get(host);
    const freshUntilMs = nowMs + NEGATIVE_MS;
    if (before && before.addresses.length > 0 && nowMs < before.staleUntilMs && !isNoSuchName(cause)) {
      this.#known.set(host, { ...before, freshUntilMs });
      return before.addresses;
    }
    const fault = unresolved(host, isNoSuchName(cause) ? 'no such name' : 'DNS gives no answer', cause);
    this.#known.set(host, { addresses: [], freshUntilMs, staleUntilMs: 0, fault });
    throw fault;
  }
}

function unresolved(host: string, why: string, cause: unknown): HubError {
  const reason = faultCode(cause);
  return new HubError('upstream-dns', {
    message: `The name ${host} cannot be resolved: ${why}.`,
    detail: { phase: 'dns', ...(reason === '' ? {} : { reason }) },
    cause,
  });
}

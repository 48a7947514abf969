/**
 * Asks DNS through c-ares, which uses no thread pool; with dns.lookup two unresponsive names stall all other
 * connections (10 s measured). The only file of this module that asks DNS.
 * Guarantees: an answer for one address family waits for the other only briefly; each query ends by itself (1 s, one
 * try per name server). `resolver.ts` adds the overall limit, the cache, and sharing of queries.
 */
import { promises as dns } from 'node:dns';
import type { Timers } from '../runtime/clock.ts';
import type { Address } from './address-class.ts';
import { faultCode } from './errors.ts';

export interface DnsAnswer extends Address {
  readonly ttlS: number;
}

export interface DnsAsker {
  /** Returns all addresses of exactly this name. Rejects with Node's DNS error. */
  ask(name: string): Promise<readonly DnsAnswer[]>;
  /** Reads a changed resolv.conf. */
  renew(): void;
}

/** Time in ms that the answer for one family waits for the other (RFC 8305, section 3). */
const OTHER_FAMILY_MS = 50;

export function createDnsAsker(timers: Timers): DnsAsker {
  let resolver = new dns.Resolver({ timeout: 1000, tries: 1 });
  return {
    ask(name) {
      const four = resolver.resolve4(name, { ttl: true }).then((rows) => answersFrom(rows, 4));
      const six = resolver.resolve6(name, { ttl: true }).then((rows) => answersFrom(rows, 6));
      return bothFamilies(four, six, timers);
    },
    renew() {
      resolver = new dns.Resolver({ timeout: 1000, tries: 1 });
    },
  };
}

function answersFrom(rows: readonly { address: string; ttl: number }[], family: 4 | 6): readonly DnsAnswer[] {
  return rows.map((row) => ({ address: row.address, family, ttlS: row.ttl }));
}

/**
 * Returns IPv4 addresses first, then IPv6. Resolves 50 ms after the first family with addresses, or when both have
 * answered.
 */
export function bothFamilies(
  four: Promise<readonly DnsAnswer[]>,
  six: Promise<readonly DnsAnswer[]>,
  timers: Timers,
): Promise<readonly DnsAnswer[]> {
  return new Promise((resolve, reject) => {
    const answers: (readonly DnsAnswer[] | undefined)[] = [undefined, undefined]; // bounded by: two families
    const faults: unknown[] = []; // bounded by: two families
    let timer: Disposable | undefined;
    const finish = (): void => {
      timer?.[Symbol.dispose]();
      const all = [...(answers[0] ?? []), ...(answers[1] ?? [])];
      if (all.length > 0 || faults.length === 0) resolve(all);
      else reject(faults.find((fault) => !isNoSuchName(fault)) ?? faults[0]);
    };
    const settle = (at: 0 | 1, rows: readonly DnsAnswer[]): void => {
      answers[at] = rows;
      if (answers[0] !== undefined && answers[1] !== undefined) finish();
      else if (rows.length > 0) timer ??= timers.after(OTHER_FAMILY_MS, finish);
    };
    for (const [at, question] of [four, six].entries()) {
      question.then(
        (rows) => settle(at as 0 | 1, rows),
        (fault: unknown) => {
          faults.push(fault);
          settle(at as 0 | 1, []);
        },
      );
    }
  });
}

/** Returns true when the name server answered that the name does not exist, or has no address of this family. */
export function isNoSuchName(fault: unknown): boolean {
  const code = faultCode(fault);
  return code === 'ENOTFOUND' || code === 'ENODATA';
}

/**
 * Questions to DNS through c-ares, which uses no thread pool: two dead names cannot stall other connections (dns.lookup lets them, 10 s measured).
 * Edge file: the only one of this room that asks DNS.
 * Promises: an answer for one family does not wait long for the other; each question ends by itself (1 s, one try per name server).
 * Does not: bound the whole, cache or share questions (`resolver.ts`).
 */
import { promises as dns } from 'node:dns';
import type { Timers } from '../runtime/clock.ts';
import type { Address } from './address-class.ts';
import { faultCode } from './errors.ts';

export interface DnsAnswer extends Address {
  readonly ttlS: number;
}

export interface DnsAsker {
  /** All addresses of exactly this name. Rejects with Node's DNS error. */
  ask(name: string): Promise<readonly DnsAnswer[]>;
  /** Takes up a changed resolv.conf. */
  renew(): void;
}

/** RFC 8305, section 3: how long the answer for one family waits for the other. */
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

/** IPv4 answers first, then IPv6. Resolves 50 ms after the first family that has addresses, or when both have answered. */
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

/** The name server knows: there is no such name, or no address of this family. */
export function isNoSuchName(fault: unknown): boolean {
  const code = faultCode(fault);
  return code === 'ENOTFOUND' || code === 'ENODATA';
}

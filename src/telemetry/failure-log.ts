/**
 * Keeps the last failures of each server for the operator (part of `mcphub servers logs`): reference, code, message and
 * error page.
 * Limited to `PER_SERVER` entries of at most 4 KiB per server that the hub ever had, at most `limits.servers` servers.
 */

import type { HubEvent } from '../model/events.ts';
import { CappedMap, type MaxSize } from '../runtime/capped.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { masked } from './mask.ts';

const PER_SERVER = 20;
/** Characters of a page that the message about an HTTP error contains (`upstream/transport/http/http-fault.ts`). */
const QUOTED_CHARS = 500;

export interface FailureLog {
  /** Returns the newest failures of a server, oldest first, one string each. */
  lines(server: string): readonly string[];
}

type Failed = Extract<HubEvent, { type: 'server-was-lost' | 'server-call-failed' }>;

export function createFailureLog(runtime: Runtime, maxServers: MaxSize): FailureLog {
  const failures = new CappedMap<string, readonly string[]>(
    'telemetry.failures',
    maxServers,
    'drop-oldest',
    runtime.ceilings,
  );

  function note(fact: Failed): void {
    const time = new Date(runtime.clock.wallMs()).toISOString();
    const page = fact.type === 'server-call-failed' && hasMore(fact) ? `\n${fact.page}` : '';
    const line = masked(`${time} [${fact.reference ?? '-'}] ${fact.code}: ${fact.message}${page}`);
    failures.set(fact.server, [...(failures.get(fact.server) ?? []), line].slice(-PER_SERVER));
  }

  runtime.bus.listen((fact) => {
    if (fact.type === 'server-was-lost' || fact.type === 'server-call-failed') note(fact);
  });

  return { lines: (server) => failures.get(server) ?? [] };
}

/** The message about an HTTP error contains the beginning of the page. */
function hasMore({ code, page }: Extract<HubEvent, { type: 'server-call-failed' }>): boolean {
  const isQuoted = code === 'upstream-http' || code === 'upstream-auth';
  return page.length > (isQuoted ? QUOTED_CHARS : 0);
}

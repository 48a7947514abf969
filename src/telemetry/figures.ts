/**
 * Counters since the start, for /api/health: events by type, calls by outcome, failures by code, calls by server.
 * Guarantees: types, outcomes and codes are closed sets; the number of servers is limited, further ones are counted
 * together; counting costs one field write.
 */

import type { HubEvent } from '../model/events.ts';
import { CappedMap, type ContainerLimits } from '../runtime/capped.ts';

/** Most servers that are counted separately. */
const MAX_SERVERS = 512;
const OTHERS = 'others';

/** Written out, because building these names per call would take longer than counting. */
const CALLS = {
  ok: 'calls.ok',
  'tool-error': 'calls.tool-error',
  error: 'calls.error',
  refused: 'calls.refused',
} as const;

interface ServerCounts {
  calls: number;
  failed: number;
}

export class Figures {
  readonly #counts = new Map<string, number>(); // bounded by: the types of facts, outcomes and error codes in the code
  readonly #servers: CappedMap<string, ServerCounts>;

  constructor(ceilings: ContainerLimits) {
    this.#servers = new CappedMap<string, ServerCounts>('telemetry.figures', MAX_SERVERS, 'refuse', ceilings);
  }

  note(fact: HubEvent): void {
    this.#add(fact.type, amountOf(fact));
    if (fact.type === 'request-refused') this.#add(`refused.${fact.code}`, fact.times);
    if (fact.type !== 'call-answered') return;
    this.#add(CALLS[fact.outcome], 1);
    if (fact.code !== undefined) this.#add(`code.${fact.code}`, 1);
    if (fact.server !== undefined) this.#addCall(fact.server, fact.outcome !== 'ok');
  }

  table(): Readonly<Record<string, number>> {
    const table: Record<string, number> = Object.fromEntries(this.#counts);
    for (const [server, { calls, failed }] of this.#servers.entries()) {
      table[`server.${server}.calls`] = calls;
      table[`server.${server}.failed`] = failed;
    }
    return table;
  }

  #add(name: string, amount: number): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + amount);
  }

  #addCall(server: string, hasFailed: boolean): void {
    const counts = this.#servers.get(server) ?? this.#born(server);
    counts.calls += 1;
    if (hasFailed) counts.failed += 1;
  }

  #born(server: string): ServerCounts {
    const fresh: ServerCounts = { calls: 0, failed: 0 };
    const fits = this.#servers.size < MAX_SERVERS - 1 || server === OTHERS;
    if (fits) {
      this.#servers.set(server, fresh);
      return fresh;
    }
    return this.#servers.get(OTHERS) ?? this.#born(OTHERS);
  }
}

/** Returns how many occurrences an event stands for. */
function amountOf(fact: HubEvent): number {
  if (fact.type === 'log-dropped') return fact.lines;
  if (fact.type === 'facts-dropped') return fact.count;
  if (fact.type === 'request-refused' || fact.type === 'key-refused') return fact.times;
  return fact.type === 'children-swept' ? fact.pids.length : 1;
}

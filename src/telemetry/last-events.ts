/**
 * Keeps the last important events as short text, which the supervisor includes in the crash report of a process that it
 * kills.
 * Guarantees: at most MAX_FACTS events and 1 KiB of text; answered calls and the like are left out.
 */

import type { HubEvent } from '../model/events.ts';
import type { ContainerLimits } from '../runtime/capped.ts';
import { CappedQueue } from '../runtime/capped-queue.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Level, RequestPipeline } from './event-lines.ts';
import { visible } from './mask.ts';

const MAX_FACTS = 10;
const MAX_SENTENCE = 88;
const MAX_BYTES = 1024;

/** Events at level info that show the state of the process; all at warn and above are kept anyway. */
const NOTABLE: ReadonlySet<HubEvent['type']> = new Set<HubEvent['type']>([
  'process-started',
  'drain-started',
  'server-became-ready',
  'server-stopped',
  'server-silence-raised',
  'child-exited',
  'breaker-closed',
  'snapshot-swapped',
  'control-found',
  'config-applied',
]);

interface Noted {
  readonly atMs: number;
  readonly type: string;
  readonly server: string | undefined;
  readonly msg: string;
}

export class LastEvents {
  readonly #clock: Clock;
  readonly #noted: CappedQueue<Noted>;
  #latest: { type: string; server: string | undefined; atMs: number } | undefined;

  constructor(clock: Clock, ceilings: ContainerLimits) {
    this.#clock = clock;
    this.#noted = new CappedQueue<Noted>('telemetry.last-facts', MAX_FACTS, 'drop-oldest', ceilings);
  }

  note(fact: HubEvent, levelOf: (fact: HubEvent) => Level, lineOf: (fact: HubEvent) => RequestPipeline): void {
    if (fact.type === 'call-answered' || fact.type === 'server-said') return;
    if (!NOTABLE.has(fact.type)) {
      const level = levelOf(fact);
      if (level !== 'warn' && level !== 'error') return;
    }
    const server = 'server' in fact ? fact.server : undefined;
    const atMs = this.#clock.wallMs();
    const { type } = fact;
    // Many events of one kind must not displace all others.
    const latest = this.#latest;
    if (latest && latest.type === type && latest.server === server && Math.abs(atMs - latest.atMs) < 1000) return;
    this.#latest = { type, server, atMs };
    this.#noted.push({ atMs, type, server, msg: visible(lineOf(fact).msg.slice(0, MAX_SENTENCE)) });
  }

  /** Returns one line per event, oldest first. */
  text(): string {
    const lines = [...this.#noted.values()].map(
      ({ atMs, type, msg }) => `${new Date(atMs).toISOString().slice(11, 19)} ${type}: ${msg}`,
    );
    while (lines.length > 1 && Buffer.byteLength(lines.join('\n')) > MAX_BYTES) lines.shift();
    return lines.join('\n');
  }
}

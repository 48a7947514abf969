/**
 * Background work of a ready connection: keep-alive, and reading changed lists again.
 * Guarantees: it ends with the connection; three failed probes close the connection. Lists are read again after
 * list_changed, after an unknown tool (once in 30 s), soon when some are missing, and every five minutes, because many
 * servers send no list_changed.
 */
import type { Limits } from '../../config/limits.ts';
import { HubError } from '../../model/errors.ts';
import type { Refusal } from '../../model/outcome.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { Scope } from '../../runtime/scope.ts';
import type { Connection } from '../connection/connection.ts';
import { KeepAlive } from './keep-alive.ts';
import type { LinkLists } from './link-lists.ts';
import { ListRefresh } from './list-refresh.ts';
import { ListRetry } from './list-retry.ts';

export interface ConnectionWatchParts {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly scope: Scope;
  readonly server: string;
  readonly connection: Connection;
  /** Called each time that the server answers pings and lists with errors only. */
  readonly failing: () => void;
  /** Reads the lists again; resolves to true when something has changed. May reject: the last good lists are kept. */
  readonly list: () => Promise<boolean>;
  readonly lists: Pick<LinkLists, 'wants' | 'isStale'>;
}

/** Interval at which lists are read again without a notification, ms, ± 10 %. */
const RELIST_EVERY_MS = 5 * 60_000;
const JITTER = 0.1;
/** Unknown tools within this time cause one reading of the lists, ms. */
const UNKNOWN_EVERY_MS = 30_000;

export class ConnectionWatch implements Disposable {
  readonly #runtime: Runtime;
  readonly #everyFewMinutes: Disposable;
  #unknownMs = Number.NEGATIVE_INFINITY;
  readonly #pulse: KeepAlive;
  readonly #relist: ListRefresh;
  readonly #retry: ListRetry;

  constructor(parts: ConnectionWatchParts) {
    const { runtime, limits, scope, server, connection, lists } = parts;
    this.#runtime = runtime;
    this.#relist = new ListRefresh({ runtime, limits }, scope, () => parts.list().finally(() => this.#retry.read()));
    this.#retry = new ListRetry({ runtime, wants: () => lists.wants, again: () => this.#relist.soon() });
    if (lists.isStale) this.#relist.soon();
    const everyMs = RELIST_EVERY_MS * (1 - JITTER + 2 * JITTER * runtime.random());
    this.#everyFewMinutes = runtime.timers.every(everyMs, () => this.#relist.soon());
    this.#pulse = new KeepAlive({
      runtime,
      limits,
      scope,
      liveness: connection.liveness,
      hasCalls: () => connection.correlator.hasCalls,
      forgotten: () => connection.forgotten(),
      failing: parts.failing,
      dead: (misses, isSilent) =>
        connection.lose(deathOf(server, misses, isSilent ? undefined : connection.liveness.fault)),
    });
  }

  /**
   * Probes the server soon after a failed call that may mean that it is unreachable. `doAllFail`: the calls before it
   * failed as well.
   */
  suspect(doAllFail: boolean): void {
    this.#pulse.suspect(doAllFail);
  }

  listChanged(): void {
    this.#relist.soon();
  }

  unknownTool(): void {
    const nowMs = this.#runtime.clock.nowMs();
    if (nowMs - this.#unknownMs < UNKNOWN_EVERY_MS) return;
    this.#unknownMs = nowMs;
    this.#relist.soon();
  }

  [Symbol.dispose](): void {
    this.#everyFewMinutes[Symbol.dispose]();
    this.#pulse[Symbol.dispose]();
    this.#relist[Symbol.dispose]();
    this.#retry[Symbol.dispose]();
  }
}

/** `answered`: the error that it returned; undefined when it returned nothing. */
function deathOf(server: string, misses: number, answered: Refusal | undefined): HubError {
  const detail = { server, phase: 'ping', setting: 'pingMs' };
  if (!answered) {
    const message = `${server} missed ${misses} pings in a row.`;
    return new HubError('upstream-silent', { message, detail });
  }
  const message = `${server} answered ${misses} pings in a row with an error: ${answered.message}`;
  return new HubError(answered.code, { message, detail: { ...answered.detail, ...detail } });
}

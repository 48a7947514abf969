/**
 * What the lives of one server were like, and what follows: rest, sleep, or a limit for one key.
 * Guarantees: a life that served was no crash; a child that ends with code 0 while nothing runs on it sleeps until the next call; deaths during calls of one key
 * limit that key and nobody else; after two deaths within a second of a cancel no cancel is sent any more.
 */

import { HubError } from '../../model/errors.ts';
import type { LinkState } from '../../model/events.ts';
import { Refusal } from '../../model/outcome.ts';
import { CappedMap } from '../../runtime/capped.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { OpeningMemory } from './opening-memory.ts';
import { type LinkKind, ReconnectBackoff } from './reconnect-backoff.ts';

/** A life that lasted this long was a good one: the next failure starts counting anew. */
const STABLE_MS = 60_000;
/** A life that was ready this long may be had again at once by a call, before its rest is over. */
const LIVED_MS = 1000;
/** A death so soon after a cancel comes from it. */
const CANCEL_MS = 1000;
const CANCEL_DEATHS = 2;
/** So many deaths during calls of one key within `KEY_MS` keep that key away for as long. */
const KEY_DEATHS = 3;
const KEY_MS = 60_000;
/** Keys whose calls have ended the process lately; the oldest is forgotten. */
const KEYS = 256;

export interface ConnectionHistoryParts {
  readonly runtime: Runtime;
  readonly kind: LinkKind;
  readonly server: string;
  /** How the server has to be initialized. */
  readonly opening?: OpeningMemory | undefined;
}

/** Why a server that sleeps has no process. */
function asleepFault(server: string): HubError {
  const message = `${server} exited by itself while nothing ran on it (exit code 0); the next call starts it.`;
  return new HubError('upstream-exit', { message, detail: { server, exitCode: 0 } });
}

export class ConnectionHistory {
  readonly backoff: ReconnectBackoff;
  readonly #parts: ConnectionHistoryParts;
  readonly #deaths: CappedMap<string, readonly number[]>;
  #hasServed = false;
  /** Since when this life is ready. */
  #readyAtMs: number | undefined;
  #isWakeable = false;
  #cancelMs = Number.NEGATIVE_INFINITY;
  #cancelDeaths = 0;
  /** The only key whose calls have ended the lives since one served. */
  #blamed: string | undefined;

  constructor(parts: ConnectionHistoryParts) {
    this.#parts = parts;
    this.backoff = new ReconnectBackoff(parts.kind);
    this.#deaths = new CappedMap('upstream.key-deaths', KEYS, 'drop-oldest', parts.runtime.ceilings);
  }

  /** A call wants the server. True = it is started now, before its rest is over: the last life was a good one. */
  wake(state: LinkState): boolean {
    const isWoken = this.#isWakeable && (state === 'waiting' || state === 'asleep');
    if (isWoken) this.backoff.wake();
    return isWoken;
  }

  /** False = cancels have ended its process. */
  get toleratesCancels(): boolean {
    return this.#cancelDeaths < CANCEL_DEATHS;
  }

  begin(): void {
    this.backoff.begin();
    this.#hasServed = false;
    this.#readyAtMs = undefined;
    this.#cancelMs = Number.NEGATIVE_INFINITY;
  }

  /** This life is ready. */
  ready(): void {
    this.#readyAtMs = this.#parts.runtime.clock.nowMs();
  }

  /** A call was answered. */
  served(): void {
    this.#hasServed = true;
    this.#blamed = undefined;
  }

  /** A cancel is about to be sent. False = it must not be. */
  mayCancel(): boolean {
    if (!this.toleratesCancels) return false;
    this.#cancelMs = this.#parts.runtime.clock.nowMs();
    return true;
  }

  /** Why calls of this key are refused; undefined = they are not. */
  limited(key: string): Refusal | undefined {
    if (this.#deaths.size === 0) return undefined;
    const nowMs = this.#parts.runtime.clock.nowMs();
    const deaths = this.#recentDeaths(key, nowMs);
    if (deaths.length < KEY_DEATHS) return undefined;
    const retryAfterMs = Math.round((deaths[deaths.length - KEY_DEATHS] as number) + KEY_MS - nowMs);
    const { server } = this.#parts;
    const message = `${deaths.length} calls of this key ended the process of ${server} within ${KEY_MS / 1000} s; it may call ${server} again in ${Math.ceil(retryAfterMs / 1000)} s.`;
    return new Refusal('server-key-paused', message, { server, phase: 'call', outcome: 'not-executed', retryAfterMs });
  }

  /**
   * A life is over. `call` = the newest of the calls that ran then; `isListenedTo` = sessions wait for its notifications. Returns why the server sleeps until
   * it is called; undefined = it is started again after a rest.
   */
  ended(fault: HubError, call: { readonly share?: string } | undefined, isListenedTo: boolean): HubError | undefined {
    const { runtime, kind, server, opening } = this.#parts;
    opening?.ended(fault);
    const nowMs = runtime.clock.nowMs();
    const readyMs = this.#readyAtMs === undefined ? undefined : nowMs - this.#readyAtMs;
    const hasExited = kind === 'local' && fault.code === 'upstream-exit';
    // A child that ends after each answer takes down the next call when that comes in the same moment.
    const isOrderly = this.#hasServed && fault.detail.exitCode === 0;
    const isOfCancel = hasExited && nowMs - this.#cancelMs <= CANCEL_MS;
    this.#isWakeable = readyMs !== undefined && (this.#hasServed || isOfCancel || readyMs >= LIVED_MS);
    if (isOfCancel) {
      this.#cancelDeaths += 1;
      if (this.#cancelDeaths === CANCEL_DEATHS) runtime.bus.publish({ type: 'cancels-withheld', server });
    } else if (hasExited && !isOrderly && readyMs !== undefined && call?.share !== undefined)
      this.#blame(call.share, nowMs);
    if (readyMs !== undefined && (this.#hasServed || isOfCancel || readyMs >= STABLE_MS)) this.backoff.reset();
    const isAsleep = hasExited && fault.detail.exitCode === 0 && readyMs !== undefined && !call && !isListenedTo;
    if (!isAsleep) return undefined;
    this.#isWakeable = true;
    runtime.bus.publish({ type: 'server-fell-asleep', server });
    return asleepFault(server);
  }

  /** Where every life ends in a call, whoever calls, the server is to blame. */
  #blame(key: string, nowMs: number): void {
    this.#deaths.set(key, [...this.#recentDeaths(key, nowMs), nowMs].slice(-KEY_DEATHS));
    const isSoleCause = this.#blamed === undefined || this.#blamed === key;
    this.#blamed = key;
    if (!isSoleCause) return;
    this.#isWakeable = true;
    this.backoff.reset();
  }

  #recentDeaths(key: string, nowMs: number): readonly number[] {
    return (this.#deaths.get(key) ?? []).filter((atMs) => nowMs - atMs < KEY_MS);
  }

  [Symbol.dispose](): void {
    this.#deaths[Symbol.dispose]();
  }
}

/**
 * Records how the connections to one server ended, and decides what follows: backoff, sleep, or a limit for one key.
 * Guarantees: a connection that served a call is no crash; a child that exits with code 0 while idle sleeps until the
 * next call; exits during calls of one key limit only that key; after two exits within a second of a cancel no cancel
 * is sent any more.
 */

import { HubError } from '../../model/errors.ts';
import { Refusal } from '../../model/outcome.ts';
import { CappedMap } from '../../runtime/capped.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { OpeningMemory } from './opening-memory.ts';
import { type LinkKind, ReconnectBackoff } from './reconnect-backoff.ts';

/** A connection that lasted this long resets the failure count, ms. */
const STABLE_MS = 60_000;
/** After a connection that was ready this long, a call may start the server before the backoff has ended, ms. */
const LIVED_MS = 1000;
/** An exit this soon after a cancel is attributed to it, ms. */
const CANCEL_MS = 1000;
const CANCEL_DEATHS = 2;
/** This many exits during calls of one key within `KEY_MS` limit that key for as long. */
const KEY_DEATHS = 3;
const KEY_MS = 60_000;
/** Keys whose calls recently ended the process; the oldest is dropped. */
const KEYS = 256;

export interface ConnectionHistoryParts {
  readonly runtime: Runtime;
  readonly kind: LinkKind;
  readonly server: string;
  /** How the server has to be initialized. */
  readonly opening?: OpeningMemory | undefined;
}

/** Returns why a server that sleeps has no process. */
function asleepFault(server: string): HubError {
  const message = `${server} exited with code 0 while it was idle; the next call starts it.`;
  return new HubError('upstream-exit', { message, detail: { server, exitCode: 0 } });
}

export class ConnectionHistory {
  readonly backoff: ReconnectBackoff;
  readonly #parts: ConnectionHistoryParts;
  readonly #deaths: CappedMap<string, readonly number[]>;
  #hasServed = false;
  /** When this connection became ready. */
  #readyAtMs: number | undefined;
  #isWakeable = false;
  #cancelMs = Number.NEGATIVE_INFINITY;
  #cancelDeaths = 0;
  /** The only key whose calls have ended connections since a call was last answered. */
  #blamed: string | undefined;

  constructor(parts: ConnectionHistoryParts) {
    this.#parts = parts;
    this.backoff = new ReconnectBackoff(parts.kind);
    this.#deaths = new CappedMap('upstream.key-deaths', KEYS, 'drop-oldest', parts.runtime.ceilings);
  }

  /**
   * Returns true when a call starts the server now, before the backoff ends, because the last connection was a good
   * one.
   */
  wake(): boolean {
    if (this.#isWakeable) this.backoff.wake();
    return this.#isWakeable;
  }

  /** False when cancels have ended its process. */
  get toleratesCancels(): boolean {
    return this.#cancelDeaths < CANCEL_DEATHS;
  }

  begin(): void {
    this.backoff.begin();
    this.#hasServed = false;
    this.#readyAtMs = undefined;
    this.#cancelMs = Number.NEGATIVE_INFINITY;
  }

  /** Records that the connection is ready. */
  ready(): void {
    this.#readyAtMs = this.#parts.runtime.clock.nowMs();
  }

  /** Records that a call was answered. */
  served(): void {
    this.#hasServed = true;
    this.#blamed = undefined;
  }

  /** Returns whether a cancel may be sent, and records that it is. */
  mayCancel(): boolean {
    if (!this.toleratesCancels) return false;
    this.#cancelMs = this.#parts.runtime.clock.nowMs();
    return true;
  }

  /** Returns why calls of this key are refused; undefined when they are not. */
  limited(key: string): Refusal | undefined {
    if (this.#deaths.size === 0) return undefined;
    const nowMs = this.#parts.runtime.clock.nowMs();
    const deaths = this.#recentDeaths(key, nowMs);
    if (deaths.length < KEY_DEATHS) return undefined;
    const retryAfterMs = Math.round((deaths[deaths.length - KEY_DEATHS] as number) + KEY_MS - nowMs);
    const { server } = this.#parts;
    const message =
      `${deaths.length} calls with this key crashed ${server} within ${KEY_MS / 1000} s; ` +
      `calls are accepted again in ${Math.ceil(retryAfterMs / 1000)} s.`;
    return new Refusal('server-key-paused', message, { server, phase: 'call', outcome: 'not-executed', retryAfterMs });
  }

  /**
   * Records the end of a connection. `call`: the newest call that was running; `isListenedTo`: sessions wait for
   * notifications. Returns why the server sleeps until it is called, or undefined when it is started again after the
   * backoff.
   */
  ended(fault: HubError, call: { readonly share?: string } | undefined, isListenedTo: boolean): HubError | undefined {
    const { runtime, kind, server, opening } = this.#parts;
    opening?.ended(fault);
    const nowMs = runtime.clock.nowMs();
    const readyMs = this.#readyAtMs === undefined ? undefined : nowMs - this.#readyAtMs;
    const hasExited = kind === 'local' && fault.code === 'upstream-exit';
    // A child that exits after each answer also ends the next call if that arrives at the same moment.
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

  /** Attributes an exit to a key. If calls of several keys end the process, the server is the cause. */
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

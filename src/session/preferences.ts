/**
 * Preferences of sessions that are not part of the session id: log level and resource subscriptions.
 * Guarantees: limited for each session, each key and in total, in number and bytes; a key above its share loses its
 * own; every change is published to listeners for replication; stored preferences never replace newer ones nor revive
 * an ended session.
 * Source: https://modelcontextprotocol.io/specification/2025-11-25/server/resources#subscriptions
 */
import type { Limits } from '../config/limits.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { PreferencesTable, UNKNOWN_OWNER } from './_preferences-table.ts';
import {
  chargedBytes,
  decodePreferences,
  encodePreferences,
  isSameResource,
  type Preferences,
  subscriptionBytes,
  textBytes,
} from './_preferences-text.ts';
import type { Subscriber, Subscription } from './_subscription-index.ts';
import { isEphemeral } from './ephemeral.ts';

export type { Subscription } from './_subscription-index.ts';

/** Preferences as they are replicated. */
export interface StoredPreferences {
  /** Random part of the session id. */
  readonly id: string;
  /** Wall clock ms of the change. */
  readonly atMs: number;
  /** Preferences as JSON text. */
  readonly json: string;
  /** Whose share they are charged to; absent = written by an older version. */
  readonly owner?: string | undefined;
}

/** Part of a session that preferences need. */
export interface PreferencesHolder {
  readonly random: string;
  readonly owner: string;
  /** Path of the session id: what the session may see. */
  readonly path: string;
}

/** Which sessions a query covers: all, or only ephemeral ones (`ephemeral.ts`). */
export type SessionKind = 'all' | 'ephemeral';

export type PreferencesLimit = 'sessionSubscriptions' | 'sessionPreferencesBytes' | 'preferencesBytesPerKey';

type Listener = (entry: StoredPreferences) => void;

export class SessionPreferences {
  readonly #runtime: Runtime;
  readonly #limits: Limits;
  readonly #table: PreferencesTable;
  #listeners: readonly Listener[] = []; // bounded by: the modules that listen

  constructor(parts: { readonly runtime: Runtime; readonly limits: Limits }) {
    this.#runtime = parts.runtime;
    this.#limits = parts.limits;
    this.#table = new PreferencesTable(parts);
  }

  level(id: string): string | undefined {
    return this.#table.get(id)?.level;
  }

  /** The most verbose level of the sessions whose path `matches`; undefined = none has set one. */
  mostVerbose(matches: (path: string) => boolean): string | undefined {
    return this.#table.levels.mostVerbose(matches);
  }

  /** Returns the exceeded limit; undefined = the level is set. */
  setLevel(session: PreferencesHolder, level: string): PreferencesLimit | undefined {
    return this.#update(session, { level, subscriptions: this.subscriptions(session.random) });
  }

  /** Returns the limit that `subscribe` would exceed; undefined = none. */
  exceededLimit({ random, owner }: PreferencesHolder, subscription: Subscription): PreferencesLimit | undefined {
    const { subscriptions = [], bytes: held = 0 } = this.#table.get(random) ?? {};
    if (subscriptions.some((one) => isSameResource(one, subscription.server, subscription.uri))) return undefined;
    const count = subscriptions.length;
    const size = textBytes(held, count) + subscriptionBytes(subscription);
    if (count >= this.#limits.sessionSubscriptions) return 'sessionSubscriptions';
    if (size > this.#limits.sessionPreferencesBytes) return 'sessionPreferencesBytes';
    return this.#table.hasRoom(owner, chargedBytes(size, count + 1) - held) ? undefined : 'preferencesBytesPerKey';
  }

  /** Returns the exceeded limit; undefined = subscribed. */
  subscribe(session: PreferencesHolder, subscription: Subscription): PreferencesLimit | undefined {
    const { server, uri } = subscription;
    const others = this.subscriptions(session.random).filter((one) => !isSameResource(one, server, uri));
    return this.#update(session, { level: this.level(session.random), subscriptions: [...others, subscription] });
  }

  /**
   * Subscribes a new session to those that fit its limits. Returns them in order, or the limit that leaves no room at
   * all.
   */
  subscribeAll(
    session: PreferencesHolder,
    requested: readonly Subscription[],
  ): readonly Subscription[] | PreferencesLimit {
    let size = textBytes(0, 0);
    const fitting = requested.slice(0, this.#limits.sessionSubscriptions).filter((one) => {
      size += subscriptionBytes(one);
      return size <= this.#limits.sessionPreferencesBytes;
    });
    return this.#update(session, { level: undefined, subscriptions: fitting }) ?? fitting;
  }

  unsubscribe(id: string, server: string, uri: string): void {
    const entry = this.#table.get(id);
    if (!entry?.subscriptions.some((one) => isSameResource(one, server, uri))) return;
    const subscriptions = entry.subscriptions.filter((one) => !isSameResource(one, server, uri));
    this.#update({ random: id, owner: entry.owner, path: entry.path }, { level: entry.level, subscriptions });
  }

  subscriptions(id: string): readonly Subscription[] {
    return this.#table.get(id)?.subscriptions ?? [];
  }

  /** Returns the sessions subscribed to this resource or to a path that contains it. */
  subscribers(server: string, uri: string, kind: SessionKind = 'all'): readonly Subscriber[] {
    return this.#table.index[kind].subscribers(server, uri);
  }

  isSubscribed(server: string, uri: string): boolean {
    return this.#table.index.all.has(server, uri);
  }

  /** Returns the random parts of an owner's sessions with preferences, without ephemeral ones. */
  ownedBy(owner: string): readonly string[] {
    return this.#table.idsOf(owner).filter((id) => !isEphemeral(id));
  }

  /** Returns the URIs of a server that any session is subscribed to. */
  subscribedUris(server: string, kind: SessionKind = 'all'): readonly string[] {
    return [...this.#table.index[kind].subscribedUris(server)];
  }

  /** Removes the preferences of an ended session; its tombstone rejects those that arrive later. */
  remove(id: string): void {
    this.#table.delete(id);
  }

  /** Applies replicated preferences. Returns false when they are not newer, or exceed the limits. */
  applyStored({ id, atMs, json, owner = UNKNOWN_OWNER }: StoredPreferences): boolean {
    const known = this.#table.get(id);
    if (known && known.atMs >= atMs) return false;
    const size = Buffer.byteLength(json);
    if (size > this.#limits.sessionPreferencesBytes) return false;
    const stored = decodePreferences(json, this.#limits.sessionSubscriptions);
    if (!stored) return false;
    return this.#table.put(id, { ...stored, owner, atMs, bytes: chargedBytes(size, stored.subscriptions.length) });
  }

  onChanged(listener: Listener): void {
    this.#listeners = [...this.#listeners, listener];
  }

  /** Keeps empty preferences too: otherwise older ones that arrive late would be applied. */
  #update(session: PreferencesHolder, { level, subscriptions }: Preferences): PreferencesLimit | undefined {
    const { random: id, owner, path } = session;
    const json = encodePreferences({ level, subscriptions }, path);
    const size = Buffer.byteLength(json);
    const limit = this.#sessionLimit(subscriptions.length, size);
    if (limit) return limit;
    const atMs = this.#nextTimestamp(id);
    const bytes = chargedBytes(size, subscriptions.length);
    if (!this.#table.put(id, { owner, path, level, subscriptions, atMs, bytes })) return 'preferencesBytesPerKey';
    if (!isEphemeral(id)) for (const listener of this.#listeners) listener({ id, atMs, json, owner });
    return undefined;
  }

  /** Returns the limit that `count` subscriptions with a text of `size` bytes exceed; undefined = none. */
  #sessionLimit(count: number, size: number): PreferencesLimit | undefined {
    if (count > this.#limits.sessionSubscriptions) return 'sessionSubscriptions';
    return count > 0 && size > this.#limits.sessionPreferencesBytes ? 'sessionPreferencesBytes' : undefined;
  }

  /** Returns a wall clock time in ms that differs also for two changes within 1 ms. */
  #nextTimestamp(id: string): number {
    return Math.max(this.#runtime.clock.wallMs(), (this.#table.get(id)?.atMs ?? 0) + 1);
  }
}

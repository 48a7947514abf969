/**
 * Preferences of sessions that are not part of the session id: log level and resource subscriptions.
 * Guarantees: limited for each session, each key and in total, in number and bytes; a key above its share loses its own; every change is
 * published to listeners for replication; stored preferences never replace newer ones nor revive an ended session.
 * Source: https://modelcontextprotocol.io/specification/2025-11-25/server/resources#subscriptions
 */
import type { Limits } from '../config/limits.ts';
import { LOG_LEVELS } from '../protocol/log-level.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { FairCount, FairMap } from '../runtime/shares.ts';
import { type Subscriber, type Subscription, SubscriptionIndex } from './_subscription-index.ts';
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

interface Preferences {
  readonly owner: string;
  readonly path: string;
  readonly level: string | undefined;
  readonly subscriptions: readonly Subscription[];
  readonly atMs: number;
  /** Bytes charged to its owner. */
  readonly bytes: number;
}

/** Which sessions a query covers: all, or only ephemeral ones (`ephemeral.ts`). */
export type SessionKind = 'all' | 'ephemeral';

export interface SessionPreferences {
  level(id: string): string | undefined;
  /** The most verbose level of the sessions whose path `matches`; undefined = none has set one. */
  mostVerbose(matches: (path: string) => boolean): string | undefined;
  /** Returns the exceeded limit; undefined = the level is set. */
  setLevel(session: PreferencesHolder, level: string): PreferencesLimit | undefined;
  /** Returns the limit that `subscribe` would exceed; undefined = none. */
  exceededLimit(session: PreferencesHolder, subscription: Subscription): PreferencesLimit | undefined;
  /** Returns the exceeded limit; undefined = subscribed. */
  subscribe(session: PreferencesHolder, subscription: Subscription): PreferencesLimit | undefined;
  /** Subscribes a new session to those that fit its limits. Returns them in order, or the limit that leaves no room at all. */
  subscribeAll(
    session: PreferencesHolder,
    subscriptions: readonly Subscription[],
  ): readonly Subscription[] | PreferencesLimit;
  unsubscribe(id: string, server: string, uri: string): void;
  subscriptions(id: string): readonly Subscription[];
  /** Returns the sessions subscribed to this resource or to a path that contains it. */
  subscribers(server: string, uri: string, kind?: SessionKind): readonly Subscriber[];
  isSubscribed(server: string, uri: string): boolean;
  /** Returns the random parts of an owner's sessions with preferences, without ephemeral ones. */
  ownedBy(owner: string): readonly string[];
  /** Returns the URIs of a server that any session is subscribed to. */
  subscribedUris(server: string, kind?: SessionKind): readonly string[];
  /** Removes the preferences of an ended session; its tombstone rejects those that arrive later. */
  remove(id: string): void;
  /** Applies replicated preferences. Returns false when they are not newer, or exceed the limits. */
  applyStored(entry: StoredPreferences): boolean;
  onChanged(listener: (entry: StoredPreferences) => void): void;
}

export type PreferencesLimit = 'sessionSubscriptions' | 'sessionPreferencesBytes' | 'preferencesBytesPerKey';

/** Memory of a subscription apart from its text (index and object); measured about 250 bytes. */
const ENTRY_BYTES = 256;
/** Bytes of the JSON text around the subscriptions. */
const FRAME_BYTES = 64;
/** Path of preferences stored without one by an older version. */
const UNKNOWN_PATH = '';
/** Owner of preferences stored without one by an older version. */
const UNKNOWN_OWNER = '';

export function createSessionPreferences(parts: { runtime: Runtime; limits: Limits }): SessionPreferences {
  const { runtime, limits } = parts;
  const entries = new FairMap<string, Preferences>(
    'session.notes',
    { max: () => limits.sessions, share: () => limits.sessionsPerKey },
    'evict-greediest',
    runtime.ceilings,
    unindex,
  );
  const bytes = new FairCount(
    'session.preferences-bytes',
    () => limits.preferencesBytes,
    () => limits.preferencesBytesPerKey,
    'refuse',
    runtime.ceilings,
  );
  const index = { all: new SubscriptionIndex(), ephemeral: new SubscriptionIndex() };
  /** Number of sessions of each path for each level. */
  const levels = new Map<string, number[]>(); // bounded by: paths of sessions, which are views of the configuration
  let listeners: readonly ((entry: StoredPreferences) => void)[] = []; // bounded by: the modules that listen

  /** Removes an entry from everything derived from it. */
  function unindex(id: string, entry: Preferences): void {
    bytes.give(entry.owner, entry.bytes);
    if (entry.level !== undefined) addLevel(entry, -1);
    for (const one of entry.subscriptions) {
      index.all.delete(id, one);
      if (isEphemeral(id)) index.ephemeral.delete(id, one);
    }
  }

  function addLevel({ path, level = '' }: Preferences, count: number): void {
    const counts = levels.get(path) ?? LOG_LEVELS.map(() => 0);
    const at = LOG_LEVELS.indexOf(level);
    counts[at] = (counts[at] ?? 0) + count;
    if (counts.some((sessions) => sessions > 0)) levels.set(path, counts);
    else levels.delete(path);
  }

  /** Returns a timestamp that differs also for two changes within 1 ms. */
  function nextTimestamp(entry: Preferences | undefined): number {
    return Math.max(runtime.clock.wallMs(), (entry?.atMs ?? 0) + 1);
  }

  /** Replaces the entry of a session. Returns false, and keeps the old one, when its owner has used up its bytes. */
  function put(id: string, entry: Preferences): boolean {
    const before = entries.get(id);
    const owner = entry.owner === UNKNOWN_OWNER ? (before?.owner ?? entry.owner) : entry.owner;
    if (before) bytes.give(before.owner, before.bytes);
    if (entry.bytes > 0 && bytes.take(owner, entry.bytes) !== 'taken') {
      if (before && before.bytes > 0) bytes.take(before.owner, before.bytes);
      return false;
    }
    if (before) unindex(id, { ...before, bytes: 0 });
    if (entry.level !== undefined) addLevel(entry, 1);
    for (const one of entry.subscriptions) {
      index.all.add(id, one);
      if (isEphemeral(id)) index.ephemeral.add(id, one);
    }
    entries.set(owner, id, { ...entry, owner });
    return true;
  }

  /** Returns the preferences with one more subscription. */
  function withSubscription(id: string, subscription: Subscription): Pick<Preferences, 'level' | 'subscriptions'> {
    const entry = entries.get(id);
    const { server, uri } = subscription;
    const others = (entry?.subscriptions ?? []).filter((one) => !isSameResource(one, server, uri));
    return { level: entry?.level, subscriptions: [...others, subscription] };
  }

  /** Returns the limit that preferences of `size` bytes exceed; undefined = none. */
  function sessionLimit(
    { subscriptions }: Pick<Preferences, 'subscriptions'>,
    size: number,
  ): PreferencesLimit | undefined {
    if (subscriptions.length > limits.sessionSubscriptions) return 'sessionSubscriptions';
    return subscriptions.length > 0 && size > limits.sessionPreferencesBytes ? 'sessionPreferencesBytes' : undefined;
  }

  /** Keeps empty preferences too: otherwise older ones that arrive late would be applied. */
  function update(
    { random: id, owner, path }: PreferencesHolder,
    { level, subscriptions }: Pick<Preferences, 'level' | 'subscriptions'>,
  ): PreferencesLimit | undefined {
    const json = encodePreferences({ level, subscriptions }, path);
    const size = Buffer.byteLength(json);
    const limit = sessionLimit({ subscriptions }, size);
    if (limit) return limit;
    const atMs = nextTimestamp(entries.get(id));
    const isKept = put(id, {
      owner,
      path,
      level,
      subscriptions,
      atMs,
      bytes: chargedBytes(size, subscriptions.length),
    });
    if (!isKept) return 'preferencesBytesPerKey';
    if (!isEphemeral(id)) for (const listener of listeners) listener({ id, atMs, json, owner });
    return undefined;
  }

  return {
    level: (id) => entries.get(id)?.level,
    mostVerbose(matches) {
      let best = LOG_LEVELS.length;
      for (const [path, counts] of levels) {
        const first = counts.findIndex((sessions) => sessions > 0);
        if (first < best && matches(path)) best = first;
      }
      return LOG_LEVELS[best];
    },
    setLevel: (session, level) =>
      update(session, { subscriptions: entries.get(session.random)?.subscriptions ?? [], level }),
    exceededLimit({ random, owner }, subscription) {
      const { subscriptions = [], bytes: held = 0 } = entries.get(random) ?? {};
      if (subscriptions.some((one) => isSameResource(one, subscription.server, subscription.uri))) return undefined;
      const count = subscriptions.length;
      const size = count === 0 ? FRAME_BYTES : held - count * ENTRY_BYTES;
      const sizeThen = size + Buffer.byteLength(JSON.stringify(subscription)) + 1;
      if (count >= limits.sessionSubscriptions) return 'sessionSubscriptions';
      if (sizeThen > limits.sessionPreferencesBytes) return 'sessionPreferencesBytes';
      const more = chargedBytes(sizeThen, count + 1) - held;
      if (bytes.take(owner, more) !== 'taken') return 'preferencesBytesPerKey';
      bytes.give(owner, more);
      return undefined;
    },
    subscribe: (session, subscription) => update(session, withSubscription(session.random, subscription)),
    subscribeAll(session, requested) {
      let size = FRAME_BYTES;
      const fitting = requested.slice(0, limits.sessionSubscriptions).filter((one) => {
        size += Buffer.byteLength(JSON.stringify(one)) + 1;
        return size <= limits.sessionPreferencesBytes;
      });
      return update(session, { level: undefined, subscriptions: fitting }) ?? fitting;
    },
    unsubscribe(id, server, uri) {
      const entry = entries.get(id);
      if (!entry?.subscriptions.some((one) => isSameResource(one, server, uri))) return;
      const subscriptions = entry.subscriptions.filter((one) => !isSameResource(one, server, uri));
      update({ random: id, owner: entry.owner, path: entry.path }, { level: entry.level, subscriptions });
    },
    subscriptions: (id) => entries.get(id)?.subscriptions ?? [],
    subscribers: (server, uri, kind = 'all') => index[kind].subscribers(server, uri),
    isSubscribed: (server, uri) => index.all.has(server, uri),
    ownedBy: (owner) => entries.keysOf(owner).filter((id) => !isEphemeral(id)),
    subscribedUris: (server, kind = 'all') => [...index[kind].subscribedUris(server)],
    remove(id) {
      const entry = entries.get(id);
      if (!entry) return;
      unindex(id, entry);
      entries.delete(id);
    },
    applyStored({ id, atMs, json, owner = UNKNOWN_OWNER }) {
      const known = entries.get(id);
      if (known && known.atMs >= atMs) return false;
      const size = Buffer.byteLength(json);
      if (size > limits.sessionPreferencesBytes) return false;
      const requested = decodePreferences(json, limits.sessionSubscriptions);
      if (!requested) return false;
      return put(id, { ...requested, owner, atMs, bytes: chargedBytes(size, requested.subscriptions.length) });
    },
    onChanged(listener) {
      listeners = [...listeners, listener];
    },
  };
}

/** Returns the preferences as JSON text. The path tells to which servers the level applies. */
function encodePreferences(
  { level, subscriptions }: Pick<Preferences, 'level' | 'subscriptions'>,
  path: string,
): string {
  return JSON.stringify({ level, subscriptions, ...(level === undefined ? {} : { path }) });
}

/** Returns the bytes charged to the owner. A log level alone is free. */
function chargedBytes(size: number, subscriptions: number): number {
  return subscriptions === 0 ? 0 : size + subscriptions * ENTRY_BYTES;
}

function isSameResource(one: Subscription, server: string, uri: string): boolean {
  return one.server === server && one.uri === uri;
}

/** Returns undefined when the text is not preferences. */
function decodePreferences(
  text: string,
  max: number,
): Pick<Preferences, 'level' | 'subscriptions' | 'path'> | undefined {
  try {
    const { level, subscriptions, path } = JSON.parse(text) as Partial<Record<string, unknown>>;
    const isLevel = typeof level === 'string' && LOG_LEVELS.includes(level);
    const list = Array.isArray(subscriptions) ? subscriptions.filter(isSubscription).slice(0, max) : [];
    return {
      level: isLevel ? level : undefined,
      subscriptions: list,
      path: typeof path === 'string' ? path : UNKNOWN_PATH,
    };
  } catch {
    return undefined;
  }
}

function isSubscription(value: unknown): value is Subscription {
  if (typeof value !== 'object' || value === null) return false;
  const { server, uri, named } = value as Partial<Record<string, unknown>>;
  return typeof server === 'string' && typeof uri === 'string' && typeof named === 'string';
}

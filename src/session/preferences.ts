/**
 * Preferences of a session beyond its sealed id: a log level, and the resources that it is subscribed to.
 * Guarantees: bounded for a session, for a key and in all, by number and by bytes; a key that holds too much loses its own; every change goes
 * to the listeners, so that it outlives a crash; a stored preference never replaces a newer one nor revives a session that has ended.
 * Does not: ask servers or send anything (`call/` does).
 * Source: defaults.md, session id.
 */
import type { Limits } from '../config/limits.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { FairCount, FairMap } from '../kernel/shares.ts';
import { LOG_LEVELS } from '../protocol/log-level.ts';
import { type Subscriber, type Subscription, SubscriptionIndex } from './_subscription-index.ts';
import { isFleeting } from './ephemeral.ts';

export type { Subscription } from './_subscription-index.ts';

/** A note as it is written behind. */
export interface KeptNote {
  /** Random part of the session's id. */
  readonly id: string;
  /** Wall clock ms of the change. */
  readonly atMs: number;
  /** JSON text. */
  readonly wishes: string;
  /** Whose share it is counted for; absent = stored by a version that did not say. */
  readonly owner?: string | undefined;
}

/** What is needed of a session: the random part of its id, and who its shares are counted for. */
export interface NoteHolder {
  readonly random: string;
  readonly owner: string;
  /** What it sees, as in its sealed id. */
  readonly path: string;
}

interface Note {
  readonly owner: string;
  readonly path: string;
  readonly level: string | undefined;
  readonly subscriptions: readonly Subscription[];
  readonly atMs: number;
  /** Counted for its owner. */
  readonly bytes: number;
}

/** Which sessions an answer is about: all, or only those of the stateless era (`fleeting.ts`). */
export type Whose = 'all' | 'fleeting';

export interface Notes {
  level(id: string): string | undefined;
  /** The most verbose level of the sessions whose path `fits`; undefined = none of them has set one. */
  mostVerbose(fits: (path: string) => boolean): string | undefined;
  /** Returns the name of the limit that forbids it; undefined = done. */
  setLevel(session: NoteHolder, level: string): PreferencesLimit | undefined;
  /** What `subscribe` would return. */
  limitOf(session: NoteHolder, subscription: Subscription): PreferencesLimit | undefined;
  /** The same. */
  subscribe(session: NoteHolder, subscription: Subscription): PreferencesLimit | undefined;
  /** Those of a session without any that fit, in their order, or the limit that leaves no room for them. */
  subscribeAll(session: NoteHolder, subscriptions: readonly Subscription[]): readonly Subscription[] | PreferencesLimit;
  unsubscribe(id: string, server: string, uri: string): void;
  subscriptions(id: string): readonly Subscription[];
  /** Sessions that are subscribed to this resource, or to a path that contains it. */
  subscribers(server: string, uri: string, whose?: Whose): readonly Subscriber[];
  isSubscribed(server: string, uri: string): boolean;
  /** Random parts of the ids of an owner's sessions that have preferences; ephemeral ones are not among them. */
  ownedBy(owner: string): readonly string[];
  /** URIs of a server that any session is subscribed to. */
  urisOf(server: string, whose?: Whose): readonly string[];
  /** The session has ended: what is written behind of it is refused by its tombstone. */
  forget(id: string): void;
  /** From the store. False = it says nothing new, or is larger than the limits allow. */
  take(note: KeptNote): boolean;
  onChanged(listener: (note: KeptNote) => void): void;
}

export type PreferencesLimit = 'sessionSubscriptions' | 'sessionPreferencesBytes' | 'preferencesBytesPerKey';

/** Memory that a subscription takes beside its text, in the index and as an object; measured about 250 bytes. */
const ENTRY_BYTES = 256;
/** JSON text of preferences around their subscriptions. */
const FRAME_BYTES = 64;
/** Path of preferences that were stored without one. */
const UNKNOWN_PATH = '';
/** Owner of preferences that were stored without one. */
const UNKNOWN_OWNER = '';

export function createNotes({ kernel, limits }: { kernel: Kernel; limits: Limits }): Notes {
  const bounds = { max: limits.sessions, share: limits.sessionsPerKey };
  const notes = new FairMap<string, Note>('session.notes', bounds, 'evict-greediest', kernel.ceilings, left);
  const bytes = new FairCount(
    'session.preferences-bytes',
    limits.preferencesBytes,
    limits.preferencesBytesPerKey,
    'refuse',
    kernel.ceilings,
  );
  const index = { all: new SubscriptionIndex(), fleeting: new SubscriptionIndex() };
  /** How many sessions of each path want each level. */
  const levels = new Map<string, number[]>(); // bounded by: paths of sessions, which are views of the configuration
  let listeners: readonly ((note: KeptNote) => void)[] = []; // bounded by: the rooms that listen

  /** Takes a note out of everything that is derived from it. */
  function left(id: string, note: Note): void {
    bytes.give(note.owner, note.bytes);
    if (note.level !== undefined) addLevel(note, -1);
    for (const one of note.subscriptions) {
      index.all.delete(id, one);
      if (isFleeting(id)) index.fleeting.delete(id, one);
    }
  }

  function addLevel({ path, level = '' }: Note, count: number): void {
    const counts = levels.get(path) ?? LOG_LEVELS.map(() => 0);
    const at = LOG_LEVELS.indexOf(level);
    counts[at] = (counts[at] ?? 0) + count;
    if (counts.some((sessions) => sessions > 0)) levels.set(path, counts);
    else levels.delete(path);
  }

  /** Two changes within one ms are told apart too. */
  function newerThan(note: Note | undefined): number {
    return Math.max(kernel.clock.wallMs(), (note?.atMs ?? 0) + 1);
  }

  /** Puts `note` in the place of the session's former one. False = its owner's bytes are used up; the former one stays. */
  function put(id: string, note: Note): boolean {
    const before = notes.get(id);
    const owner = note.owner === UNKNOWN_OWNER ? (before?.owner ?? note.owner) : note.owner;
    if (before) bytes.give(before.owner, before.bytes);
    if (note.bytes > 0 && bytes.take(owner, note.bytes) !== 'taken') {
      if (before && before.bytes > 0) bytes.take(before.owner, before.bytes);
      return false;
    }
    if (before) left(id, { ...before, bytes: 0 });
    if (note.level !== undefined) addLevel(note, 1);
    for (const one of note.subscriptions) {
      index.all.add(id, one);
      if (isFleeting(id)) index.fleeting.add(id, one);
    }
    notes.set(owner, id, { ...note, owner });
    return true;
  }

  /** The session's wishes with one subscription more. */
  function withOne(id: string, subscription: Subscription): Pick<Note, 'level' | 'subscriptions'> {
    const note = notes.get(id);
    const { server, uri } = subscription;
    const others = (note?.subscriptions ?? []).filter((one) => !isOf(one, server, uri));
    return { level: note?.level, subscriptions: [...others, subscription] };
  }

  /** Of these wishes as JSON text; undefined = they fit. */
  function sessionLimit({ subscriptions }: Pick<Note, 'subscriptions'>, size: number): PreferencesLimit | undefined {
    if (subscriptions.length > limits.sessionSubscriptions) return 'sessionSubscriptions';
    return subscriptions.length > 0 && size > limits.sessionPreferencesBytes ? 'sessionPreferencesBytes' : undefined;
  }

  /** An empty note stays: what is written behind comes back late, and must not be taken for news. */
  function keep(
    { random: id, owner, path }: NoteHolder,
    { level, subscriptions }: Pick<Note, 'level' | 'subscriptions'>,
  ): PreferencesLimit | undefined {
    const wishes = textOf({ level, subscriptions }, path);
    const size = Buffer.byteLength(wishes);
    const limit = sessionLimit({ subscriptions }, size);
    if (limit) return limit;
    const atMs = newerThan(notes.get(id));
    const isKept = put(id, { owner, path, level, subscriptions, atMs, bytes: costOf(size, subscriptions.length) });
    if (!isKept) return 'preferencesBytesPerKey';
    if (!isFleeting(id)) for (const listener of listeners) listener({ id, atMs, wishes, owner });
    return undefined;
  }

  return {
    level: (id) => notes.get(id)?.level,
    mostVerbose(fits) {
      let best = LOG_LEVELS.length;
      for (const [path, counts] of levels) {
        const first = counts.findIndex((sessions) => sessions > 0);
        if (first < best && fits(path)) best = first;
      }
      return LOG_LEVELS[best];
    },
    setLevel: (session, level) =>
      keep(session, { subscriptions: notes.get(session.random)?.subscriptions ?? [], level }),
    limitOf({ random, owner }, subscription) {
      const { subscriptions = [], bytes: held = 0 } = notes.get(random) ?? {};
      if (subscriptions.some((one) => isOf(one, subscription.server, subscription.uri))) return undefined;
      const count = subscriptions.length;
      const size = count === 0 ? FRAME_BYTES : held - count * ENTRY_BYTES;
      const sizeThen = size + Buffer.byteLength(JSON.stringify(subscription)) + 1;
      if (count >= limits.sessionSubscriptions) return 'sessionSubscriptions';
      if (sizeThen > limits.sessionPreferencesBytes) return 'sessionPreferencesBytes';
      const more = costOf(sizeThen, count + 1) - held;
      if (bytes.take(owner, more) !== 'taken') return 'preferencesBytesPerKey';
      bytes.give(owner, more);
      return undefined;
    },
    subscribe: (session, subscription) => keep(session, withOne(session.random, subscription)),
    subscribeAll(session, wanted) {
      let size = FRAME_BYTES;
      const fitting = wanted.slice(0, limits.sessionSubscriptions).filter((one) => {
        size += Buffer.byteLength(JSON.stringify(one)) + 1;
        return size <= limits.sessionPreferencesBytes;
      });
      return keep(session, { level: undefined, subscriptions: fitting }) ?? fitting;
    },
    unsubscribe(id, server, uri) {
      const note = notes.get(id);
      if (!note?.subscriptions.some((one) => isOf(one, server, uri))) return;
      const subscriptions = note.subscriptions.filter((one) => !isOf(one, server, uri));
      keep({ random: id, owner: note.owner, path: note.path }, { level: note.level, subscriptions });
    },
    subscriptions: (id) => notes.get(id)?.subscriptions ?? [],
    subscribers: (server, uri, whose = 'all') => index[whose].subscribers(server, uri),
    isSubscribed: (server, uri) => index.all.has(server, uri),
    ownedBy: (owner) => notes.keysOf(owner).filter((id) => !isFleeting(id)),
    urisOf: (server, whose = 'all') => [...index[whose].urisOf(server)],
    forget(id) {
      const note = notes.get(id);
      if (!note) return;
      left(id, note);
      notes.delete(id);
    },
    take({ id, atMs, wishes, owner = UNKNOWN_OWNER }) {
      const known = notes.get(id);
      if (known && known.atMs >= atMs) return false;
      const size = Buffer.byteLength(wishes);
      if (size > limits.sessionPreferencesBytes) return false;
      const wanted = wishedIn(wishes, limits.sessionSubscriptions);
      if (!wanted) return false;
      return put(id, { ...wanted, owner, atMs, bytes: costOf(size, wanted.subscriptions.length) });
    },
    onChanged(listener) {
      listeners = [...listeners, listener];
    },
  };
}

/** Preferences as JSON. The path says which servers a level is for. */
function textOf({ level, subscriptions }: Pick<Note, 'level' | 'subscriptions'>, path: string): string {
  return JSON.stringify({ level, subscriptions, ...(level === undefined ? {} : { path }) });
}

/** A log level alone costs nothing but its place. */
function costOf(size: number, subscriptions: number): number {
  return subscriptions === 0 ? 0 : size + subscriptions * ENTRY_BYTES;
}

function isOf(one: Subscription, server: string, uri: string): boolean {
  return one.server === server && one.uri === uri;
}

/** Undefined = not what this version writes. */
function wishedIn(text: string, max: number): Pick<Note, 'level' | 'subscriptions' | 'path'> | undefined {
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

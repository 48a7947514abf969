/**
 * What a session has asked for beyond its statement: a log level, and the resources that it wants to hear about.
 * Promises: bounded for a session and in all; what changes is told to whoever writes it behind, so that it outlives a kill; a note that comes
 * back from there never replaces a newer one, and wakes no session that has ended.
 * Does not: ask servers or send anything (`call/` does).
 * Source: defaults.md, session id.
 */
import type { Limits } from '../config/limits.ts';
import { CappedMap } from '../kernel/capped.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { LOG_LEVELS } from '../protocol/log-level.ts';
import { isFleeting } from './fleeting.ts';

export interface Subscription {
  readonly server: string;
  /** As the server knows it. */
  readonly uri: string;
  /** As the client named it, where that is another one. */
  readonly named: string;
}

/** A note as it is written behind. */
export interface KeptNote {
  /** Random part of the session's id. */
  readonly id: string;
  /** Wall clock ms of the change. */
  readonly atMs: number;
  /** JSON text. */
  readonly wishes: string;
}

interface Note {
  readonly level: string | undefined;
  readonly subscriptions: readonly Subscription[];
  readonly atMs: number;
}

export interface Notes {
  level(id: string): string | undefined;
  /** The most verbose level of all sessions; undefined = no session has set one. */
  mostVerbose(): string | undefined;
  setLevel(id: string, level: string): void;
  /** False = this session has as many as it may. */
  subscribe(id: string, subscription: Subscription): boolean;
  unsubscribe(id: string, server: string, uri: string): void;
  subscriptions(id: string): readonly Subscription[];
  /** Sessions that want to hear of this resource, or of one that holds it. */
  subscribers(server: string, uri: string): readonly { readonly id: string; readonly named: string }[];
  /** URIs of a server that any session wants to hear of, or any that `fits`. */
  urisOf(server: string, fits?: (id: string) => boolean): readonly string[];
  forget(id: string): void;
  /** From the store. False = it says nothing new. */
  take(note: KeptNote): boolean;
  onChanged(listener: (note: KeptNote) => void): void;
}

const PER_SESSION = 256;

export function createNotes({ kernel, limits }: { kernel: Kernel; limits: Limits }): Notes {
  const notes = new CappedMap<string, Note>('session.notes', limits.sessions, 'drop-oldest', kernel.ceilings);
  let listeners: readonly ((note: KeptNote) => void)[] = []; // bounded by: the rooms that listen

  function noteOf(id: string): Note {
    return notes.get(id) ?? { level: undefined, subscriptions: [], atMs: 0 };
  }

  /** Two changes within one ms are told apart too. */
  function newerThan(note: Note | undefined): number {
    return Math.max(kernel.clock.wallMs(), (note?.atMs ?? 0) + 1);
  }

  /** An empty note stays: what is written behind comes back late, and must not be taken for news. */
  function keep(id: string, { level, subscriptions }: Pick<Note, 'level' | 'subscriptions'>): void {
    const atMs = newerThan(notes.get(id));
    notes.set(id, { level, subscriptions, atMs });
    if (isFleeting(id)) return;
    const wishes = JSON.stringify({ level, subscriptions });
    for (const listener of listeners) listener({ id, atMs, wishes });
  }

  return {
    level: (id) => notes.get(id)?.level,
    mostVerbose() {
      let best = LOG_LEVELS.length;
      for (const { level } of notes.values()) if (level !== undefined) best = Math.min(best, LOG_LEVELS.indexOf(level));
      return LOG_LEVELS[best];
    },
    setLevel: (id, level) => keep(id, { ...noteOf(id), level }),
    subscribe(id, subscription) {
      const note = noteOf(id);
      const others = note.subscriptions.filter((one) => !isOf(one, subscription.server, subscription.uri));
      if (others.length >= PER_SESSION) return false;
      keep(id, { ...note, subscriptions: [...others, subscription] });
      return true;
    },
    unsubscribe(id, server, uri) {
      const note = notes.get(id);
      if (note?.subscriptions.some((one) => isOf(one, server, uri)))
        keep(id, { ...note, subscriptions: note.subscriptions.filter((one) => !isOf(one, server, uri)) });
    },
    subscriptions: (id) => notes.get(id)?.subscriptions ?? [],
    subscribers(server, uri) {
      const found: { id: string; named: string }[] = []; // bounded by: notes
      for (const [id, { subscriptions }] of notes.entries()) {
        const one = subscriptions.find((wish) => wish.server === server && holds(wish.uri, uri));
        if (one) found.push({ id, named: one.uri === uri ? one.named : uri });
      }
      return found;
    },
    urisOf(server, fits = () => true) {
      const uris = new Set<string>(); // bounded by: notes
      for (const [id, { subscriptions }] of notes.entries())
        for (const one of subscriptions) if (one.server === server && fits(id)) uris.add(one.uri);
      return [...uris];
    },
    forget(id) {
      const note = notes.get(id);
      if (isFleeting(id)) notes.delete(id);
      else if (note) notes.set(id, { level: undefined, subscriptions: [], atMs: newerThan(note) });
    },
    take({ id, atMs, wishes }) {
      const known = notes.get(id);
      const note = known && known.atMs >= atMs ? undefined : noteFrom(wishes, atMs);
      if (note) notes.set(id, note);
      return note !== undefined;
    },
    onChanged(listener) {
      listeners = [...listeners, listener];
    },
  };
}

function isOf(one: Subscription, server: string, uri: string): boolean {
  return one.server === server && one.uri === uri;
}

/** A change may be told of a part of what was subscribed to (specification, resources, subscriptions). */
function holds(wished: string, uri: string): boolean {
  if (wished === uri) return true;
  return uri.startsWith(wished.endsWith('/') ? wished : `${wished}/`);
}

/** Undefined = not what this version writes. */
function noteFrom(text: string, atMs: number): Note | undefined {
  try {
    const { level, subscriptions } = JSON.parse(text) as { level?: unknown; subscriptions?: unknown };
    const isLevel = typeof level === 'string' && LOG_LEVELS.includes(level);
    const list = Array.isArray(subscriptions) ? subscriptions.filter(isSubscription).slice(0, PER_SESSION) : [];
    return { level: isLevel ? level : undefined, subscriptions: list, atMs };
  } catch {
    return undefined;
  }
}

function isSubscription(value: unknown): value is Subscription {
  if (typeof value !== 'object' || value === null) return false;
  const { server, uri, named } = value as Partial<Record<string, unknown>>;
  return typeof server === 'string' && typeof uri === 'string' && typeof named === 'string';
}

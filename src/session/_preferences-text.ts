/**
 * The JSON text of preferences, as it is replicated and charged to their owner.
 */
import { LOG_LEVELS } from '../protocol/log-level.ts';
import type { Subscription } from './_subscription-index.ts';

export interface Preferences {
  readonly level: string | undefined;
  readonly subscriptions: readonly Subscription[];
}

/** Memory of a subscription apart from its text (index and object); measured about 250 bytes. */
const ENTRY_BYTES = 256;
/** Bytes of the JSON text around the subscriptions. */
const FRAME_BYTES = 64;
/** Path of preferences stored without one by an older version. */
const UNKNOWN_PATH = '';

/** Returns the preferences as JSON text. The path tells to which servers the level applies. */
export function encodePreferences({ level, subscriptions }: Preferences, path: string): string {
  return JSON.stringify({ level, subscriptions, ...(level === undefined ? {} : { path }) });
}

/** Returns undefined when the text is not preferences. `max`: subscriptions that are read; further ones are dropped. */
export function decodePreferences(text: string, max: number): (Preferences & { readonly path: string }) | undefined {
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

/** Returns the bytes charged to the owner for a text of `size` bytes. A log level alone is free. */
export function chargedBytes(size: number, subscriptions: number): number {
  return subscriptions === 0 ? 0 : size + subscriptions * ENTRY_BYTES;
}

/** Returns the bytes of the text of `count` subscriptions for which `charged` bytes are charged. */
export function textBytes(charged: number, count: number): number {
  return count === 0 ? FRAME_BYTES : charged - count * ENTRY_BYTES;
}

/** Returns the bytes of one subscription in the text. */
export function subscriptionBytes(subscription: Subscription): number {
  return Buffer.byteLength(JSON.stringify(subscription)) + 1;
}

export function isSameResource(one: Subscription, server: string, uri: string): boolean {
  return one.server === server && one.uri === uri;
}

function isSubscription(value: unknown): value is Subscription {
  if (typeof value !== 'object' || value === null) return false;
  const { server, uri, named } = value as Partial<Record<string, unknown>>;
  return typeof server === 'string' && typeof uri === 'string' && typeof named === 'string';
}

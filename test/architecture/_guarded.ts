/**
 * Callbacks of `downstream` whose faults would reach the process: listeners on other objects than requests and
 * responses of the hub's listeners (whose classes guard them), and promises whose rejection or callback nobody catches.
 * Does not: follow values. A variable is known by its name, within its file. Timers and deadlines are guarded in
 * `runtime/runtime.ts`.
 */
import { placeOf, type SourceFile } from './_tree.ts';

const LISTENER = /(?:([#\w$]+)|[)\]])\s*\??\.\s*(?:on|once|addListener|prependListener)\s*\(\s*(?:'[^']*'\s*,\s*)?/g;
const PROMISE = /^\s*void\s+\w|\.\s*then\s*\(/gm;
/** Made by `guardedClasses`. */
const GUARDED_NAMES: ReadonlySet<string> = new Set(['request', 'response', '#response']);
/** The guards themselves, and a function whose callers guard what they hand over. */
const EXEMPT: ReadonlySet<string> = new Set(['downstream/guarded-http.ts', 'downstream/_pour.ts']);

export function unguardedCallbacks(file: SourceFile): string[] {
  if (file.room !== 'downstream' || EXEMPT.has(file.path)) return [];
  const listeners = [...file.code.matchAll(LISTENER)].filter(([whole, name], at, all) => {
    if (name === undefined || GUARDED_NAMES.has(name)) return false;
    const match = all[at] as RegExpExecArray;
    const rest = file.code.slice(match.index + whole.length);
    return !rest.startsWith('guardCallback(') && !isGuarded(file, name);
  });
  const promises = [...file.bare.matchAll(PROMISE)];
  return [
    ...listeners.map((match) => `${placeOf(file, match.index)} a listener on ${match[1]} that no guard covers`),
    ...promises.map((match) => `${placeOf(file, match.index)} a promise without whenSettled`),
  ];
}

/**
 * HTTP servers of a worker are made by `Listener`, which guards their requests and watches their readers; these
 * are no part of a worker.
 */
const OTHER_SERVERS: ReadonlySet<string> = new Set([
  'downstream/listener.ts',
  'admin/admin-server.ts',
  'chaos/fault-server.ts',
]);

export function otherServers(file: SourceFile): string[] {
  if (OTHER_SERVERS.has(file.path)) return [];
  return [...file.code.matchAll(/import\s*\{[^}]*\bcreateServer\b[^}]*\}\s*from\s*'node:https?'/g)].map(
    (match) => `${placeOf(file, match.index)} an HTTP server beside Listener`,
  );
}

/** The file gives this variable to `guardEmitter`. */
function isGuarded(file: SourceFile, name: string): boolean {
  const escaped = name.replaceAll('$', String.raw`\$`);
  return new RegExp(String.raw`\bguardEmitter\(\s*[\w.]+,\s*${escaped}\b`).test(file.code);
}

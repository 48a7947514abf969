/**
 * Laws 1 and 5 at the edges: who may touch the runtime's timers, the outside world, and blocking calls. Everybody else
 * goes through them.
 * Does not: hold the table of edges; that is in `edges.test.ts`, with a reason for each.
 */
import { placeOf, type SourceFile } from './_tree.ts';

/**
 * `timers` = setTimeout and the like; `outside` = sockets, processes, disk, names; `sync` = blocking disk or process
 * calls.
 */
export type EdgeKind = 'timers' | 'outside' | 'sync';

const OUTSIDE = new Set([
  'node:net',
  'node:http',
  'node:https',
  'node:http2',
  'node:tls',
  'node:dgram',
  'node:child_process',
  'node:cluster',
  'node:worker_threads',
  'node:inspector',
  'node:inspector/promises',
  'node:fs',
  'node:fs/promises',
  'node:dns',
  'node:dns/promises',
  'node:sqlite',
  'node:readline',
  'node:readline/promises',
  'undici',
  'pg',
  'ioredis',
]);

/** Names that only compute. */
const PURE = new Set([
  'isIP',
  'isIPv4',
  'isIPv6',
  'BlockList',
  'STATUS_CODES',
  'constants',
  'validateHeaderName',
  'validateHeaderValue',
]);

const TIMER_MODULES = new Set(['node:timers', 'node:timers/promises']);
const TIMER_CALL =
  /(?<![.\w$])(?:globalThis\s*\.\s*)?(?:setTimeout|setInterval|setImmediate)\b|\bAbortSignal\s*\.\s*timeout\b/g;
const FETCH_CALL = /(?<![.\w$])(?:fetch|WebSocket|EventSource)\s*\(/g;
const SYNC_CALL = /\b\w+Sync\s*\(/g;
/** Microseconds of computing; password hashing (scryptSync, pbkdf2Sync) is not. */
const SYNC_THAT_COMPUTES = /^hkdfSync\b/;

export interface EdgeUse {
  readonly path: string;
  readonly kind: EdgeKind;
  /** Where and what, for people. */
  readonly what: string;
}

/** Every use of an edge in a file. */
export function edgeUses(file: SourceFile): EdgeUse[] {
  const uses: EdgeUse[] = [];
  const add = (kind: EdgeKind, what: string): void => {
    uses.push({ path: file.path, kind, what });
  };
  for (const { from, names, typeOnly } of file.imports) {
    if (typeOnly) continue;
    const impure = names.filter((name) => !PURE.has(name));
    if (OUTSIDE.has(from) && impure.length > 0)
      add('outside', `${file.path} imports ${impure.join(', ')} from ${from}`);
    if (TIMER_MODULES.has(from)) add('timers', `${file.path} imports ${from}`);
  }
  for (const match of file.bare.matchAll(TIMER_CALL)) add('timers', `${placeOf(file, match.index)} ${match[0]}`);
  for (const match of file.bare.matchAll(FETCH_CALL)) add('outside', `${placeOf(file, match.index)} ${match[0]}`);
  for (const match of file.bare.matchAll(SYNC_CALL)) {
    if (!SYNC_THAT_COMPUTES.test(match[0])) add('sync', `${placeOf(file, match.index)} ${match[0]}`);
  }
  return uses;
}

export interface Edge {
  readonly path: string;
  readonly kinds: readonly EdgeKind[];
  readonly why: string;
}

/** Uses that no row of the table allows. */
export function unlistedUses(files: readonly SourceFile[], edges: readonly Edge[]): string[] {
  const allowed = new Set(edges.flatMap(({ path, kinds }) => kinds.map((kind) => `${path} ${kind}`)));
  return files
    .flatMap(edgeUses)
    .filter(({ path, kind }) => !allowed.has(`${path} ${kind}`))
    .map(({ what }) => what);
}

/** Rows that allow what nobody does, so that the table stays short and true. */
export function idleEdges(files: readonly SourceFile[], edges: readonly Edge[]): string[] {
  const used = new Set(files.flatMap(edgeUses).map(({ path, kind }) => `${path} ${kind}`));
  return edges.flatMap(({ path, kinds }) => kinds.map((kind) => `${path} ${kind}`)).filter((use) => !used.has(use));
}

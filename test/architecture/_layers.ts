/**
 * Law 7, the arrows: which room may import which, and what a process loads.
 * Source: ARCHITECTURE, rooms and arrows.
 */
import { posix } from 'node:path';
import type { SourceFile } from './_tree.ts';

/** Layer of each room. `redis` and `cache` come in a later step. */
export const LAYERS: Readonly<Record<string, number>> = {
  model: 0,
  runtime: 1,
  protocol: 2,
  resilience: 2,
  config: 2,
  net: 2,
  seal: 2,
  relay: 2,
  redis: 2,
  store: 2,
  subprocess: 2,
  telemetry: 2,
  auth: 3,
  session: 3,
  admission: 3,
  catalog: 3,
  cache: 3,
  upstream: 3,
  health: 3,
  call: 4,
  control: 4,
  downstream: 5,
  admin: 5,
  process: 6,
  supervisor: 7,
  operator: 8,
  bridge: 9,
  chaos: 9,
  doctor: 9,
  // Above the supervisor: `mcphub start` checks the configuration and then becomes it.
  cli: 10,
};

/** Only here may rooms of one layer import each other (without a cycle of rooms). */
const OPEN_LAYER = 2;

/** Imports upward, sideways, out of `src/`, or of rooms that do not exist. Types count too. */
export function wrongArrows(files: readonly SourceFile[]): string[] {
  const wrong: string[] = [];
  for (const file of files) {
    const from = LAYERS[file.room];
    if (from === undefined || !file.path.includes('/')) wrong.push(`${file.path} is in no room`);
    for (const { target, from: written } of file.imports) {
      if (target === undefined) continue;
      const room = target.split('/')[0] ?? '';
      const to = LAYERS[room];
      if (to === undefined) wrong.push(`${file.path} imports ${written}, which is in no room`);
      else if (from !== undefined && room !== file.room && !isDown(from, to)) {
        wrong.push(`${file.path} (layer ${from}) imports ${target} (layer ${to})`);
      } else if (posix.basename(target).startsWith('_') && posix.dirname(target) !== posix.dirname(file.path)) {
        wrong.push(`${file.path} imports ${target}, which is private to ${posix.dirname(target)}`);
      }
    }
  }
  return wrong;
}

function isDown(from: number, to: number): boolean {
  return to < from || (from === OPEN_LAYER && to === OPEN_LAYER);
}

/** Cycles of modules that load each other (erased type imports do not), each named once. */
export function moduleCycles(files: readonly SourceFile[]): string[] {
  return cyclesOf(new Map(files.map((file) => [file.path, loadedBy(file)])));
}

/** Cycles of rooms, types included. */
export function roomCycles(files: readonly SourceFile[]): string[] {
  const rooms = new Map<string, Set<string>>();
  for (const file of files) {
    const to = rooms.get(file.room) ?? new Set<string>();
    rooms.set(file.room, to);
    for (const { target } of file.imports) {
      const room = target?.split('/')[0];
      if (room !== undefined && room !== file.room) to.add(room);
    }
  }
  return cyclesOf(new Map([...rooms].map(([room, to]) => [room, [...to]])));
}

function loadedBy(file: SourceFile): string[] {
  return file.imports.flatMap(({ target, typeOnly }) => (target === undefined || typeOnly ? [] : [target]));
}

function cyclesOf(graph: ReadonlyMap<string, readonly string[]>): string[] {
  const cycles: string[] = [];
  const done = new Set<string>();
  const path: string[] = [];
  const visit = (node: string): void => {
    const at = path.indexOf(node);
    if (at >= 0) cycles.push([...path.slice(at), node].join(' → '));
    if (at >= 0 || done.has(node)) return;
    path.push(node);
    for (const next of graph.get(node) ?? []) visit(next);
    path.pop();
    done.add(node);
  };
  for (const node of graph.keys()) visit(node);
  return cycles;
}

/** Everything that loading `roots` loads: paths in `src/` and outside modules. */
export function closureOf(roots: readonly string[], files: readonly SourceFile[]): ReadonlySet<string> {
  const byPath = new Map(files.map((file) => [file.path, file]));
  const loaded = new Set<string>();
  const queue = [...roots];
  for (let path = queue.pop(); path !== undefined; path = queue.pop()) {
    if (loaded.has(path)) continue;
    loaded.add(path);
    for (const one of byPath.get(path)?.imports ?? []) if (!one.typeOnly) queue.push(one.target ?? one.from);
  }
  return loaded;
}

/** Loaded modules that a root must not load: by room, or by being an outside module other than node's own. */
export function forbiddenLoads(
  root: string,
  files: readonly SourceFile[],
  rule: { readonly rooms: readonly string[]; readonly packages: 'any' | 'none' },
): string[] {
  return [...closureOf([root], files)].filter((loaded) => {
    const isFile = loaded.endsWith('.ts');
    if (isFile) return rule.rooms.includes(loaded.split('/')[0] ?? '');
    return rule.packages === 'none' && !loaded.startsWith('node:');
  });
}

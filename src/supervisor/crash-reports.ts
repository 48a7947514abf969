/** Crash reports: one JSON file per process that failed, in the directory `evidence` of the data directory. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const REPORTS = 'evidence';
const MAX_REPORTS = 20;
/** Holds the name of the newest report that a start has logged. */
const LOGGED = 'told';
const MAX_LOGGED = 5;

/** Returns the blocking stack that the stall-watching thread of process `pid` wrote, if there is one. */
export async function readBlockingStack(runDir: string, who: string, pid: number): Promise<string | undefined> {
  const text = await readFile(join(runDir, `stall-${who}.txt`), 'utf8').catch(() => '');
  return text.includes(`pid ${pid} `) ? text : undefined;
}

/** Writes a crash report and keeps the newest 20. Returns its path, or undefined if it cannot be written. */
export async function writeCrashReport(dataDir: string, who: string, report: object): Promise<string | undefined> {
  const dir = join(dataDir, REPORTS);
  const path = join(dir, `${new Date().toISOString().replaceAll(':', '-')}-${who}.json`);
  try {
    await mkdir(dir, { recursive: true, mode: 0o700 });
    await writeFile(path, JSON.stringify(report, null, 2), { mode: 0o600 });
    const names = (await readdir(dir)).filter((name) => name.endsWith('.json')).sort();
    for (const name of names.slice(0, Math.max(0, names.length - MAX_REPORTS)))
      await rm(join(dir, name), { force: true });
    return path;
  } catch {
    return undefined;
  }
}

/** Returns a sentence for each crash of an earlier run that was not logged yet, newest last. */
export function unreportedCrashes(dataDir: string): string[] {
  const dir = join(dataDir, REPORTS);
  const marker = join(dir, LOGGED);
  try {
    const names = readdirSync(dir)
      .filter((name) => name.endsWith('.json'))
      .sort();
    const logged = existsSync(marker) ? readFileSync(marker, 'utf8') : '';
    const unreported = names.filter((name) => name > logged).slice(-MAX_LOGGED);
    const last = names.at(-1);
    if (last !== undefined) writeFileSync(marker, last, { mode: 0o600 });
    return unreported.map((name) => sentenceOf(join(dir, name)));
  } catch {
    // There is no report, or none that can be read.
    return [];
  }
}

function sentenceOf(path: string): string {
  const { at, process: who, why, guiltyStack } = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
  const stack = Array.isArray(guiltyStack) ? guiltyStack.map(String).filter((line) => /^ +at /.test(line)) : [];
  // Frames of the runtime last: the code that called it is what matters.
  const frames = [...stack.filter((line) => !line.includes('(node:')), ...stack].slice(0, 3);
  const blocked = frames.length === 0 ? '' : `; blocked in ${frames.map(placeOf).join(' ← ')}`;
  return `${who} ended at ${at}: ${why}${blocked} (${path})`;
}

/** `    at name (file:///…/maxConnections/file.ts:1:2)` → `name (maxConnections/file.ts:1)`. */
function placeOf(frame: string): string {
  const [, name = '', place = ''] = /^ +at ([^(]*) \(([^()]*):\d+\)$/.exec(frame) ?? [];
  return `${name} (${place.split('/').slice(-2).join('/')})`;
}

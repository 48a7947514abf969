/**
 * Runs test files side by side. A file says in a line below its header how much of the machine its gates and its load
 * need: `// runs: alone` (all of it), `// runs: in pairs` (half). `about 60 s` in that line makes it start before
 * shorter ones.
 */
import { readFileSync } from 'node:fs';
import { type FileResult, runFile } from './run-file.ts';

interface TestFile {
  readonly path: string;
  /** Places that it takes of those of its phase. */
  readonly places: number;
  readonly usualSeconds: number;
  readonly bytes: number;
}

const RUNS = /^\/\/ runs: (?<how>.*)$/m;
const DEFAULT_SECONDS = 10;

/** Returns the results in the order in which the files end; `places` files without a mark run at the same time. */
export async function runFiles(paths: readonly string[], places: number, limitMs: number): Promise<FileResult[]> {
  const endMs = performance.now() + limitMs;
  const waiting = inTurn(paths, places);
  const results: FileResult[] = [];
  const running = new Set<Promise<void>>();
  let free = places;
  const start = (file: TestFile): void => {
    free -= file.places;
    const run = runFile(file.path, { limitMs: endMs - performance.now() }).then((result) => {
      free += file.places;
      running.delete(run);
      results.push(result);
      print(result);
    });
    running.add(run);
  };
  while (waiting.length > 0 || running.size > 0) {
    while (waiting[0] !== undefined && waiting[0].places <= free) start(waiting.shift() as TestFile);
    await Promise.race(running);
  }
  return results;
}

function testFile(path: string, places: number): TestFile {
  const text = readFileSync(path, 'utf8');
  const how = RUNS.exec(text)?.groups?.how ?? '';
  const share = how.includes('alone') ? 1 : how.includes('in pairs') ? 1 / 2 : 1 / places;
  const usualSeconds = Number(/about (\d+) s/.exec(how)?.[1] ?? DEFAULT_SECONDS);
  return { path, places: Math.ceil(places * share), usualSeconds, bytes: text.length };
}

/**
 * Returns the files in the order of their starts: small shares first, so that the last of them run beside the next;
 * then the longest first, by the seconds in the mark and the length of the text.
 */
export function inTurn(paths: readonly string[], places: number): TestFile[] {
  return paths.map((path) => testFile(path, places)).sort(byTurn);
}

function byTurn(one: TestFile, other: TestFile): number {
  return one.places - other.places || other.usualSeconds - one.usualSeconds || other.bytes - one.bytes;
}

function print({ file, seconds, output }: FileResult): void {
  console.log(`── ${file} (${seconds.toFixed(1)} s)\n${output.trimEnd()}\n`);
}

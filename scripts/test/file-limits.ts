/**
 * A reporter of node:test that runs beside `spec` in the process of a test file and ends it, as failed, when it is
 * still running some seconds after its last test, or at the limit for a file. It prints what is open or running, so
 * that a server left open by a failed `before` is found.
 */
import { writeSync } from 'node:fs';
import { inspect } from 'node:util';

interface TestEvent {
  readonly type: string;
  readonly data: { readonly nesting?: number; readonly name?: string; readonly details?: { readonly error?: Error } };
}

/** Set by `run-file.ts`. */
const OPEN_MS = Number(process.env.TEST_OPEN_MS);
const FILE_MS = Number(process.env.TEST_FILE_MS);
/** Time for the summary. */
const SUMMARY_MS = 1000;

function end(why: string): void {
  const kinds = new Map<string, number>();
  for (const kind of process.getActiveResourcesInfo()) kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
  writeSync(1, `✖ ${why}; open: ${[...kinds].map(([kind, count]) => `${count} ${kind}`).join(', ')}\n`);
  setTimeout(() => process.exit(1), SUMMARY_MS);
  // node:test prints its summary when the process has nothing more to do.
  process.emit('beforeExit', 1);
}

/** Yields nothing. */
// biome-ignore lint/style/noDefaultExport: node:test takes a reporter from the default export.
export default async function* fileLimits(source: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const running = new Set<string>();
  /** While a test runs, there is no summary. */
  const failures: string[] = [];
  let unfinished = 0;
  let idle: NodeJS.Timeout | undefined;
  const atLimit = (): void => {
    const tests = [...running].join(' | ') || 'none';
    end(`the file takes longer than ${Math.round(FILE_MS / 1000)} s; running: ${tests}\n${failures.join('\n')}`);
  };
  const atRest = (): void => end(`the file is still running ${OPEN_MS / 1000} s after its last test`);
  const limit = setTimeout(atLimit, FILE_MS).unref();
  for await (const { type, data } of source) {
    const { nesting, name = '', details } = data ?? {};
    if (type === 'test:fail') failures.push(`${name}: ${inspect(details?.error?.cause ?? details?.error)}`);
    if (type === 'test:dequeue') running.add(name);
    if (type === 'test:complete') running.delete(name);
    if (nesting !== 0) continue;
    if (type === 'test:enqueue') unfinished += 1;
    if (type === 'test:complete') unfinished -= 1;
    clearTimeout(idle);
    if (unfinished === 0) idle = setTimeout(atRest, OPEN_MS).unref();
  }
  clearTimeout(idle);
  clearTimeout(limit);
  yield '';
}

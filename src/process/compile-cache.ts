/**
 * Writes compiled code to the compile cache for the next start. Node writes it only at an orderly exit, so a process
 * that is killed on its first run would start slowly again.
 * Guarantees: runs after the start, in the first process of each version and role only, because it blocks the loop: for
 * 20 ms when the cache was complete, for 0.1 s when it was empty (measured).
 */
import { access, writeFile } from 'node:fs/promises';
import { flushCompileCache, getCompileCacheDir } from 'node:module';
import { join } from 'node:path';
import type { Runtime } from '../runtime/runtime.ts';
import { VERSION } from './version.ts';

const AFTER_MS = 3000;

export function saveCompileCacheOnce(runtime: Runtime, role: 'hub' | 'control'): void {
  const dir = getCompileCacheDir();
  if (dir === undefined) return;
  runtime.timers.after(AFTER_MS, () => runtime.scope.run('save compiled code', () => save(dir, role)));
}

async function save(dir: string, role: string): Promise<void> {
  // A file beside the code: who deletes the cache deletes it too.
  const mark = join(dir, `saved-${role}-${VERSION}`);
  const isSaved = await access(mark).then(
    () => true,
    () => false,
  );
  if (isSaved) return;
  flushCompileCache();
  // Without the file the next process saves it again.
  await writeFile(mark, '').catch(() => {});
}

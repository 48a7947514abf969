/**
 * Fills the package's cache of compiled code, so that the first start is as quick as every other (it halves the time to
 * the first answer). Run by `npm ci` and `npm install` (`prepare`); a start works without it too.
 * Promises: loads the modules and runs nothing of them but help; each process's own V8 flags are used, for code
 * compiled under others does not count; ends within `WARM_MS`; a part that fails is left out.
 */
import { spawn } from 'node:child_process';
import { globSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { WORKER_FLAGS } from '../src/model/supervisor-messages.ts';

const ROOT = join(import.meta.dirname, '..');
/** Where bin/mcphub.js looks first. Another one may be named as the argument. */
const CACHE = process.argv[2] ?? join(ROOT, 'node_modules/.cache/mcphub');
const WARM_MS = 60_000;

function run(args: readonly string[]): Promise<void> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, args, {
      cwd: ROOT,
      stdio: 'ignore',
      env: { ...process.env, NODE_COMPILE_CACHE: CACHE },
      timeout: WARM_MS,
    });
    child.on('error', () => resolve());
    child.on('close', () => resolve());
  });
}

/** Arguments of a process that only loads modules of `src/`. */
function loading(paths: readonly string[]): string[] {
  const urls = paths.map((path) => JSON.stringify(`./src/${path}`));
  return ['--input-type=module', '--eval', `for (const url of [${urls.join(', ')}]) await import(url);`];
}

mkdirSync(CACHE, { recursive: true });
const commands = globSync('{cli,operator,bridge,doctor}/*.ts', { cwd: join(ROOT, 'src') }).filter(
  (path) => !/main\.ts$|\.test\.ts$/.test(path),
);
await run(['bin/mcphub.js', '--help']);
await Promise.all([
  run(loading(commands)),
  run(loading(['process/main.ts', 'process/control-process.ts', 'process/control-parts.ts'])),
  run([...WORKER_FLAGS, ...loading(['process/main.ts', 'process/worker-process.ts'])]),
]);

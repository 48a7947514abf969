/**
 * `mcphub start`: finds the configuration file, then becomes the supervisor. The control process reads the file while
 * the first worker loads; when it is invalid, the supervisor prints all errors and exits with 78.
 */
import { join } from 'node:path';
import { isatty } from 'node:tty';
import { fileURLToPath } from 'node:url';
import { findConfigFile } from '../config/config-file.ts';
import { type LimitName, limitsFrom } from '../config/limits.ts';
import { dataDirFrom, runDirFor } from '../config/paths.ts';
import { CliFailure, EXIT } from '../operator/exit.ts';
import { printMessage } from '../operator/output.ts';
import { envLimits } from '../process/env-limits.ts';
import { VERSION } from '../process/version.ts';
import { createRuntime } from '../runtime/runtime.ts';
import { runSupervisor } from '../supervisor/supervisor.ts';
import { becomeInit } from './as-init.ts';
import type { StartOptions } from './start-options.ts';

const EXAMPLE = fileURLToPath(new URL('../../examples/mcp_settings.json', import.meta.url));
const FIND_MS = 5000;

export async function start(options: StartOptions): Promise<void> {
  becomeInit();
  const { env } = process;
  const flags: Partial<Record<LimitName, number>> = {
    ...(options.port === undefined ? {} : { port: wholeNumber('--port', options.port) }),
    ...workersFrom(options),
  };
  const configFile = await findFile(options);
  if (configFile === undefined)
    printMessage(
      'No configuration file was found; the hub starts without servers. `mcphub start --help` lists the paths that are searched.',
    );
  const dataDir = dataDirFrom(env, env.HOME ?? '', options.dataDir);
  process.exitCode = await runSupervisor({
    flags,
    host: options.host ?? (env.HOST || undefined),
    dataDir,
    runDir: runDirFor(dataDir),
    configFile,
    entry: join(
      import.meta.dirname,
      '../process/main.ts'.replace('.ts', import.meta.filename.endsWith('.ts') ? '.ts' : '.js'),
    ),
    limits: limitsFrom({ ...envLimits(env), ...flags }),
    // The flag is passed to the other processes as the variable.
    env: options.host === undefined ? env : { ...env, HOST: options.host },
    // Not process.stdout: accessing it changes the flags of a pipe that other processes share.
    terminal: isatty(1),
    version: VERSION,
  });
  process.exit();
}

function workersFrom({ workers, hubs }: StartOptions): { readonly workers?: number } {
  if (workers !== undefined) return { workers: wholeNumber('--workers', workers) };
  return hubs === undefined ? {} : { workers: wholeNumber('--hubs', hubs) };
}

/** Returns the absolute path, or undefined when there is no file. */
async function findFile({ config: path, example }: StartOptions): Promise<string | undefined> {
  const runtime = createRuntime();
  using deadline = runtime.deadline(FIND_MS);
  const home = process.env.HOME ?? '';
  const fallback = example ? EXAMPLE : undefined;
  const search = { path, env: process.env, cwd: process.cwd(), home, fallback, waits: runtime.waits, deadline };
  return (await findConfigFile(search))?.file;
}

function wholeNumber(flag: string, text: string): number {
  const value = Number(text);
  if (!/^\d{1,9}$/.test(text))
    throw new CliFailure(EXIT.usage, `${flag} takes a whole number, not ${JSON.stringify(text)}`);
  return value;
}

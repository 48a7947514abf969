/**
 * `mcphub start`: checks the configuration, then becomes the guard.
 */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { LimitName } from '../config/limits.ts';
import { formatProblems } from '../config/load.ts';
import { dataDirFrom, runDirFor } from '../config/paths.ts';
import { VERSION } from '../process/version.ts';
import { loadForCli } from './config-commands.ts';
import { CliFailure, EXIT } from './exit.ts';
import { say } from './output.ts';

export interface StartOptions {
  readonly config?: string;
  readonly port?: string;
  readonly host?: string;
  readonly hubs?: string;
  readonly dataDir?: string;
  readonly example?: boolean;
}

const EXAMPLE = fileURLToPath(new URL('../../examples/mcp_settings.json', import.meta.url));

export async function start(options: StartOptions): Promise<void> {
  const flags: Partial<Record<LimitName, number>> = {
    ...(options.port === undefined ? {} : { port: wholeNumber('--port', options.port) }),
    ...(options.hubs === undefined ? {} : { hubs: wholeNumber('--hubs', options.hubs) }),
  };
  const loaded = await loadForCli(options.config, { flags, ...(options.example ? { fallback: EXAMPLE } : {}) });
  if (loaded.problems.length > 0) say(formatProblems(loaded.problems));
  if (!loaded.config)
    throw new CliFailure(
      EXIT.badConfig,
      'Not started: the configuration has errors. `mcphub config validate` checks it again.',
    );
  const { limits, file } = loaded.config;
  if (file === undefined)
    say('No configuration file was found; the hub starts without servers. `mcphub start --help` says where it looks.');
  const dataDir = dataDirFrom(process.env, process.env.HOME ?? '', options.dataDir);
  const { runGuard } = await import('../supervisor/guard.ts');
  process.exitCode = await runGuard({
    port: limits.port,
    host: options.host ?? (process.env.HOST || undefined),
    hubs: limits.hubs,
    dataDir,
    runDir: runDirFor(dataDir),
    configFile: file,
    entry: join(
      import.meta.dirname,
      '../process/main.ts'.replace('.ts', import.meta.filename.endsWith('.ts') ? '.ts' : '.js'),
    ),
    limits,
    env: process.env,
    terminal: process.stdout.isTTY === true,
    version: VERSION,
  });
  process.exit();
}

function wholeNumber(flag: string, text: string): number {
  const value = Number(text);
  if (!/^\d{1,9}$/.test(text))
    throw new CliFailure(EXIT.usage, `${flag} takes a whole number, not ${JSON.stringify(text)}`);
  return value;
}

#!/usr/bin/env node
/**
 * The `mcphub` command. Each family of subcommands is a file; it is loaded only when it is called, so that `start` stays quick and small.
 * Promises: data on stdout, messages on stderr; exit codes of `exit.ts`; no stack trace for an expected failure.
 */
import { enableCompileCache } from 'node:module';
import { join } from 'node:path';
import { Command, CommanderError } from 'commander';
import { VERSION } from '../process/version.ts';
import { CliFailure, EXIT } from './exit.ts';
import { say } from './output.ts';

keepCompiledCode();

const program = new Command('mcphub')
  .description('One endpoint for many MCP servers, that nothing can hang.')
  .version(VERSION, '-V, --version')
  .helpCommand(true)
  .showHelpAfterError('(run with --help for what is possible)')
  .showSuggestionAfterError(true)
  .exitOverride();

program
  .command('start')
  .alias('serve')
  .description('run the hub in the foreground')
  .option(
    '-c, --config <file>',
    'configuration file (default: MCPHUB_CONFIG, ./mcp_settings.json, ./mcphub.jsonc, ~/.config/mcphub/)',
  )
  .option('-p, --port <port>', 'port to listen on (PORT; default 3000)')
  .option('--host <address>', 'address to listen on (HOST; default 127.0.0.1 and ::1)')
  .option('--hubs <n>', 'number of hub processes (MCPHUB_HUBS; default 1)')
  .option(
    '--data-dir <dir>',
    'where keys, names and the last catalog are kept (MCPHUB_DATA_DIR; default ~/.local/share/mcphub)',
  )
  .option('--example', 'use the example servers when no configuration is found')
  .addHelpText(
    'after',
    '\nSignals: TERM and INT drain and stop (twice = at once), HUP reads the configuration again, USR2 replaces the hubs one by one.',
  )
  .action(async (options) => (await import('./start.ts')).start(options));

program
  .command('bridge')
  .description('a hub for clients that can only start a program: messages on stdin and stdout')
  .argument('[path]', 'group or server (default: everything)')
  .option('--url <url>', 'endpoint of the hub (MCPHUB_URL; default: the hub of this machine, without a key)')
  .option('--key-file <file>', 'file that holds the key (default: the key in MCPHUB_KEY)')
  .option('--data-dir <dir>', 'data directory of the hub of this machine (MCPHUB_DATA_DIR)')
  .action(async (path, options) => (await import('./bridge.ts')).bridge(path, options));

const config = program.command('config').description('look at the configuration without starting anything');
config
  .command('validate')
  .argument('[file]', 'file to check (default: the one that start would use)')
  .description('check a file and name everything that is wrong, with line and path')
  .option('--json', 'print the problems as JSON')
  .action(async (file, options) => (await import('./config-commands.ts')).validate(file, options));
config
  .command('explain')
  .argument('[file]')
  .description('print each setting with its value and where it comes from')
  .option('--json', 'print as JSON')
  .option('--all', 'also those that are at their default')
  .action(async (file, options) => (await import('./config-commands.ts')).explainConfig(file, options));
config
  .command('schema')
  .description('print the JSON Schema of the file')
  .action(async () => (await import('./config-commands.ts')).schema());

const keys = program.command('keys').description('keys of people and clients');
withHub(keys.command('create').description('make a key; it is shown once'))
  .requiredOption('-u, --user <name>', 'whose key it is')
  .requiredOption('-n, --name <name>', 'which client or machine it is for')
  .option('--role <role>', 'owner or member', 'member')
  .option('--group <name...>', 'only these groups (default: everything)')
  .option('--expires <days>', 'days until it expires (default: never)')
  .action(async (options) => (await import('./keys-commands.ts')).createKey(options));
withHub(keys.command('list').description('all keys, never their secret part')).action(async (options) =>
  (await import('./keys-commands.ts')).listKeys(options),
);
withHub(
  keys.command('rotate').description('replace a key; its sessions go on').argument('<id>', 'id or prefix of the key'),
).action(async (id, options) => (await import('./keys-commands.ts')).rotateKey(id, options));
withHub(
  keys
    .command('revoke')
    .description('end a key; it is refused within a second')
    .argument('<id>', 'id or prefix of the key'),
).action(async (id, options) => (await import('./keys-commands.ts')).revokeKey(id, options));

const servers = program.command('servers').description('the servers behind the hub');
withHub(servers.command('list').description('how each server stands, and why')).action(async (options) =>
  (await import('./servers-commands.ts')).listServers(options),
);
withHub(servers.command('restart').description('connect a server again, now').argument('<name>')).action(
  async (name, options) => (await import('./servers-commands.ts')).restartServer(name, options),
);
withHub(servers.command('logs').description('the last lines that a server wrote to stderr').argument('<name>')).action(
  async (name, options) => (await import('./servers-commands.ts')).serverLogs(name, options),
);

const tools = program.command('tools').description('the tools as clients see them');
withHub(
  tools.command('list').description('all tools, or those of a group or server').argument('[path]', 'group or server'),
).action(async (path, options) => (await import('./tools-commands.ts')).listTools(path, options));
withHub(
  tools
    .command('call')
    .description('call a tool through the hub')
    .argument('<tool>')
    .argument('[arguments...]', 'name=value pairs; a value that is JSON is taken as JSON'),
)
  .option('--args-json <json>', 'all arguments as one JSON object')
  .addHelpText(
    'after',
    '\nExit code 6 = the tool answered with an error of its own.\nExample: mcphub tools call everything_echo message=hello',
  )
  .action(async (tool, pairs, options) => (await import('./tools-commands.ts')).callTool(tool, pairs, options));

withHub(program.command('status').description('how the hub and its processes are')).action(async (options) =>
  (await import('./status-commands.ts')).status(options),
);
withHub(program.command('waits').description('what each process is waiting for, right now')).action(async (options) =>
  (await import('./status-commands.ts')).waits(options),
);
withHub(program.command('reload').description('read the configuration again')).action(async (options) =>
  (await import('./status-commands.ts')).reload(options),
);

/**
 * Code is compiled once a version instead of at every start of each process, which halves the time to the first answer (measured). The
 * directory is the user's own, never a shared one; where it cannot be written nothing is kept. The guard's processes inherit it.
 */
function keepCompiledCode(): void {
  const { NODE_COMPILE_CACHE: given, XDG_CACHE_HOME: caches, HOME: home } = process.env;
  const base = caches || (home ? join(home, '.cache') : undefined);
  const dir = given || (base ? join(base, 'mcphub', 'code') : undefined);
  if (dir === undefined) return;
  enableCompileCache(dir);
  process.env.NODE_COMPILE_CACHE = dir;
}

/** Options of every command that talks to a running hub. */
function withHub(command: Command): Command {
  return command
    .option('--json', 'print as JSON')
    .option('--data-dir <dir>', 'data directory of the hub to talk to (MCPHUB_DATA_DIR)')
    .option('--timeout <seconds>', 'give up after this long', '10');
}

function endsWith(fault: unknown): number {
  if (fault instanceof CliFailure) {
    say(fault.message);
    return fault.exitCode;
  }
  // Commander has printed its own message; help and version are no failures.
  if (fault instanceof CommanderError) return fault.exitCode === 0 ? EXIT.ok : EXIT.usage;
  say(fault instanceof Error ? (fault.stack ?? fault.message) : String(fault));
  return EXIT.error;
}

process.on('SIGPIPE', () => process.exit(EXIT.ok));
try {
  await program.parseAsync(process.argv);
} catch (fault) {
  process.exitCode = endsWith(fault);
}

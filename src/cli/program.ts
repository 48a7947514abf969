/**
 * Defines all commands with their options and help for commander. Each family of subcommands is a file that is loaded
 * when it is called. `main.ts` reports failures and chooses exit codes, except for errors of commander itself.
 */
import { Command, CommanderError, Option } from 'commander';
import { EXIT } from '../operator/exit.ts';
import { VERSION } from '../process/version.ts';
import { flagsOf, START_OPTIONS } from './start-options.ts';

/**
 * Runs the command in `words`. Returns the exit code unless the command has set one; rejects with what the command
 * throws.
 */
export async function runProgram(words: readonly string[]): Promise<number | undefined> {
  const program = new Command('mcphub')
    .description('One endpoint for many MCP servers, that nothing can hang.')
    .version(VERSION, '-V, --version')
    .helpCommand(true)
    .showHelpAfterError('(run with --help for what is possible)')
    .showSuggestionAfterError(true)
    .exitOverride();
  for (const add of [addStart, addBridge, addConfig, addKeys, addServers, addTools, addHub, addChaos]) add(program);
  try {
    await program.parseAsync(words, { from: 'user' });
    return process.exitCode === undefined ? undefined : Number(process.exitCode);
  } catch (fault) {
    // Commander has printed its own message; help and version are not failures.
    if (fault instanceof CommanderError) return fault.exitCode === 0 ? EXIT.ok : EXIT.usage;
    throw fault;
  }
}

function addStart(program: Command): void {
  const start = program
    .command('start')
    .alias('serve')
    .description('run the hub in the foreground')
    .addHelpText(
      'after',
      '\nSignals: TERM and INT drain and stop (again half a second later = at once), HUP reads the configuration again, USR2 replaces the workers one by one.',
    )
    .action(async (options) => (await import('./start.ts')).start(options));
  for (const option of START_OPTIONS) {
    const shown = new Option(flagsOf(option), option.says);
    start.addOption(option.isFormer ? shown.hideHelp() : shown);
  }
}

function addBridge(program: Command): void {
  program
    .command('bridge')
    .description('a hub for clients that can only start a program: messages on stdin and stdout')
    .argument('[path]', 'group or server (default: everything)')
    .option('--url <url>', 'endpoint of the hub (MCPHUB_URL; default: the hub of this machine, without a key)')
    .option('--key-file <file>', 'file that holds the key (default: the key in MCPHUB_KEY)')
    .option('--data-dir <dir>', 'data directory of the hub of this machine (MCPHUB_DATA_DIR)')
    .action(async (path, options) => (await import('../bridge/bridge.ts')).bridge(path, options));
}

function addConfig(program: Command): void {
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
}

const UNCONFIRMED = '\nExit code 7 = done, but a worker has not confirmed it yet; the message names it.';

function addKeys(program: Command): void {
  const keys = program.command('keys').description('keys of people and clients');
  withHub(keys.command('create').description('make a key; it is shown once'))
    .requiredOption('-u, --user <name>', 'whose key it is')
    .requiredOption('-n, --name <name>', 'which client or machine it is for')
    .option('--role <role>', 'owner or member', 'member')
    .option('--group <name...>', 'only these groups; for members (default: everything)')
    .option('--expires <days>', 'days until it expires (default: never)')
    .addHelpText('after', UNCONFIRMED)
    .action(async (options) => (await import('./keys-commands.ts')).createKey(options));
  withHub(keys.command('list').description('all keys, never their secret part')).action(async (options) =>
    (await import('./keys-commands.ts')).listKeys(options),
  );
  withHub(
    keys.command('rotate').description('replace a key; its sessions go on').argument('<id>', 'id or prefix of the key'),
  )
    .addHelpText('after', UNCONFIRMED)
    .action(async (id, options) => (await import('./keys-commands.ts')).rotateKey(id, options));
  withHub(
    keys
      .command('revoke')
      .description('revoke a key; everything open for it ends within a second')
      .argument('<id>', 'id or prefix of the key'),
  )
    .addHelpText('after', UNCONFIRMED)
    .action(async (id, options) => (await import('./keys-commands.ts')).revokeKey(id, options));
}

function addServers(program: Command): void {
  const servers = program.command('servers').description('the servers behind the hub');
  withHub(servers.command('list').description('how each server stands, and why')).action(async (options) =>
    (await import('./servers-commands.ts')).listServers(options),
  );
  withHub(servers.command('restart').description('connect a server again, now').argument('<name>')).action(
    async (name, options) => (await import('./servers-commands.ts')).restartServer(name, options),
  );
  withHub(
    servers.command('logs').description('the last lines that a server wrote to stderr').argument('<name>'),
  ).action(async (name, options) => (await import('./servers-commands.ts')).serverLogs(name, options));
}

function addTools(program: Command): void {
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
}

function addHub(program: Command): void {
  withHub(program.command('status').description('how the hub and its processes are')).action(async (options) =>
    (await import('./status-commands.ts')).status(options),
  );
  withHub(program.command('waits').description('what each process is waiting for, right now')).action(async (options) =>
    (await import('./status-commands.ts')).waits(options),
  );
  program
    .command('doctor')
    .description('what is wrong with the hub, without its help')
    .argument('[pid]', 'of the supervisor or one of its processes (default: the supervisor of the data directory)')
    .option('--json', 'print as JSON')
    .option('--data-dir <dir>', 'data directory of the hub to look at (MCPHUB_DATA_DIR)')
    .option('--report', 'write everything into a file of the data directory, to be sent to whoever helps')
    .addHelpText(
      'after',
      '\nExit code 0 = the hub answers (what else is worth knowing, a server that is down for one, is told first), 1 = something is wrong.',
    )
    .action(async (pid, options) => (await import('../doctor/doctor.ts')).doctor(pid, options));
  withHub(program.command('reload').description('read the configuration and the lists of all servers again')).action(
    async (options) => (await import('./status-commands.ts')).reload(options),
  );
}

function addChaos(program: Command): void {
  program
    .command('chaos')
    .description('make trouble in a sandbox of your configuration, and see what still answers')
    .option('-c, --config <file>', 'configuration to copy (default: the one that start would use)')
    .option('--only <trouble...>', 'only these: hung slow dead garbage huge crash deaf flood stopped log loop')
    .option('--seconds <n>', 'how long each lasts, at least', '4')
    .option('--without-servers', 'do not start the servers of the configuration')
    .option('--json', 'print as JSON')
    .addHelpText('after', '\nThe hub that you run is not touched. Exit code 1 = a promise was broken.')
    .action(async (options) => (await import('../chaos/chaos.ts')).chaos(options));
}

/** Adds the options of every command that talks to a running hub. */
function withHub(command: Command): Command {
  return command
    .option('--json', 'print as JSON')
    .option('--data-dir <dir>', 'data directory of the hub to talk to (MCPHUB_DATA_DIR)')
    .option('--timeout <seconds>', 'give up after this long', '10');
}

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
    .description('Serves many MCP servers at one endpoint.')
    .version(VERSION, '-V, --version')
    .helpCommand(true)
    .showHelpAfterError('(run with --help for usage)')
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
      '\nSignals: TERM and INT drain and stop (a second signal at least 0.5 s later stops at once), ' +
        'HUP reloads the configuration, USR2 replaces the workers one at a time.',
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
    .description('connect a client that only supports stdio servers to a hub')
    .argument('[path]', 'group or server (default: all servers)')
    .option('--url <url>', 'endpoint of the hub (MCPHUB_URL; default: the hub of this machine, without a key)')
    .option('--key-file <file>', 'file that holds the key (default: the key in MCPHUB_KEY)')
    .option('--data-dir <dir>', 'data directory of the hub of this machine (MCPHUB_DATA_DIR)')
    .action(async (path, options) => (await import('../bridge/bridge.ts')).bridge(path, options));
}

function addConfig(program: Command): void {
  const config = program.command('config').description('check and show the configuration');
  config
    .command('validate')
    .argument('[file]', 'file to check (default: the file that start uses)')
    .description('check a file and print all errors and warnings with line and path')
    .option('--json', 'print as JSON')
    .action(async (file, options) => (await import('./config-commands.ts')).validate(file, options));
  config
    .command('explain')
    .argument('[file]')
    .description('print each setting with its value and source')
    .option('--json', 'print as JSON')
    .option('--all', 'include settings at their default')
    .action(async (file, options) => (await import('./config-commands.ts')).explainConfig(file, options));
  config
    .command('schema')
    .description('print the JSON Schema of the configuration file')
    .action(async () => (await import('./config-commands.ts')).schema());
}

const UNCONFIRMED =
  '\nExit code 7: the change was made, but a worker has not confirmed it yet; the message names the worker.';

function addKeys(program: Command): void {
  const keys = program.command('keys').description('manage keys');
  withHub(keys.command('create').description('create a key and print it once'))
    .requiredOption('-u, --user <name>', 'user that the key belongs to')
    .requiredOption('-n, --name <name>', 'name of the key, for example of the client or machine')
    .option('--role <role>', 'owner or member', 'member')
    .option('--group <name...>', 'groups that a member may use (default: all servers)')
    .option('--expires <days>', 'days until the key expires (default: never)')
    .addHelpText('after', UNCONFIRMED)
    .action(async (options) => (await import('./keys-commands.ts')).createKey(options));
  withHub(keys.command('list').description('list keys without their secret part')).action(async (options) =>
    (await import('./keys-commands.ts')).listKeys(options),
  );
  withHub(
    keys
      .command('rotate')
      .description('replace a key; its sessions continue')
      .argument('<id>', 'id or prefix of the key'),
  )
    .addHelpText('after', UNCONFIRMED)
    .action(async (id, options) => (await import('./keys-commands.ts')).rotateKey(id, options));
  withHub(
    keys
      .command('revoke')
      .description('revoke a key; its calls and streams end within a second')
      .argument('<id>', 'id or prefix of the key'),
  )
    .addHelpText('after', UNCONFIRMED)
    .action(async (id, options) => (await import('./keys-commands.ts')).revokeKey(id, options));
}

function addServers(program: Command): void {
  const servers = program.command('servers').description('manage servers');
  withHub(servers.command('list').description('show the status of each server and its cause')).action(async (options) =>
    (await import('./servers-commands.ts')).listServers(options),
  );
  withHub(servers.command('restart').description('restart or reconnect a server').argument('<name>')).action(
    async (name, options) => (await import('./servers-commands.ts')).restartServer(name, options),
  );
  withHub(
    servers.command('logs').description('print the last stderr lines and failures of a server').argument('<name>'),
  ).action(async (name, options) => (await import('./servers-commands.ts')).serverLogs(name, options));
}

function addTools(program: Command): void {
  const tools = program.command('tools').description('list and call tools');
  withHub(
    tools
      .command('list')
      .description('list all tools, or the tools of a group or server')
      .argument('[path]', 'group or server'),
  ).action(async (path, options) => (await import('./tools-commands.ts')).listTools(path, options));
  withHub(
    tools
      .command('call')
      .description('call a tool through the hub')
      .argument('<tool>')
      .argument('[arguments...]', 'name=value pairs; a value that is valid JSON is parsed'),
  )
    .option('--args-json <json>', 'all arguments as one JSON object')
    .addHelpText(
      'after',
      '\nExit code 6: the tool returned an error.\nExample: mcphub tools call everything_echo message=hello',
    )
    .action(async (tool, pairs, options) => (await import('./tools-commands.ts')).callTool(tool, pairs, options));
}

function addHub(program: Command): void {
  withHub(program.command('status').description('show the status of the hub and its processes')).action(
    async (options) => (await import('./status-commands.ts')).status(options),
  );
  withHub(program.command('waits').description('show what each process is waiting for')).action(async (options) =>
    (await import('./status-commands.ts')).waits(options),
  );
  program
    .command('doctor')
    .description('diagnose a hub, even one that does not respond')
    .argument('[pid]', 'pid of the supervisor or one of its processes (default: the supervisor of the data directory)')
    .option('--json', 'print as JSON')
    .option('--data-dir <dir>', 'data directory of the hub (MCPHUB_DATA_DIR)')
    .option('--report', 'write a report without secrets to a file in the data directory, for a support request')
    .addHelpText(
      'after',
      '\nExit code 0: the hub responds; notes, such as a server that is down, are printed first. Exit code 1: a problem was found.',
    )
    .action(async (pid, options) => (await import('../doctor/doctor.ts')).doctor(pid, options));
  withHub(program.command('reload').description('reload the configuration and the lists of all servers')).action(
    async (options) => (await import('./status-commands.ts')).reload(options),
  );
}

function addChaos(program: Command): void {
  program
    .command('chaos')
    .description('inject faults into a sandboxed copy of your configuration and report what keeps working')
    .option('-c, --config <file>', 'configuration to copy (default: the file that start uses)')
    .option(
      '--only <fault...>',
      'inject only these faults: hung slow dead garbage huge crash deaf flood stopped log loop',
    )
    .option('--seconds <n>', 'minimum duration of each fault', '4')
    .option('--without-servers', 'do not start the configured servers')
    .option('--json', 'print as JSON')
    .addHelpText('after', '\nYour running hub is not affected. Exit code 1: a guarantee was broken.')
    .action(async (options) => (await import('../chaos/chaos.ts')).chaos(options));
}

/** Adds the options of every command that talks to a running hub. */
function withHub(command: Command): Command {
  return command
    .option('--json', 'print as JSON')
    .option('--data-dir <dir>', 'data directory of the hub (MCPHUB_DATA_DIR)')
    .option('--timeout <seconds>', 'timeout of the request', '10');
}

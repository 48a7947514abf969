/**
 * `mcphub chaos`: injects faults one after the other into a sandboxed copy of the user's configuration and reports what
 * keeps working.
 * Guarantees: the user's running hub is not touched; Ctrl-C and every failure clean up all that was started; exit code
 * 0 when every guarantee held, 1 otherwise.
 */
import { readConfigText } from '../config/config-file.ts';
import { findConfigFile } from '../config/load.ts';
import { CliFailure, EXIT } from '../operator/exit.ts';
import { paint, print, printJson, printMessage } from '../operator/output.ts';
import { createRuntime, type Runtime } from '../runtime/runtime.ts';
import { copyOf } from './_config-copy.ts';
import { type FaultServer, faultServer, wellServer } from './_fault-servers.ts';
import { FAULTS, type FaultKind, figuresOf, type Outcome, outageOf, promisesBroken } from './_faults.ts';
import { type Load, loadFor } from './_load.ts';
import { reportText } from './_report.ts';
import { Sandbox } from './_sandbox.ts';

interface ChaosOptions {
  readonly json?: boolean;
  readonly config?: string;
  readonly only?: readonly string[];
  readonly seconds: string;
  readonly withoutServers?: boolean;
}

const READ_MS = 5000;
const SLUG = 'chaos';

export async function chaos(options: ChaosOptions): Promise<void> {
  const troubles = chosen(options.only);
  const seconds = secondsFrom(options.seconds);
  const runtime = createRuntime();
  const { config, file } = await readConfig(runtime, options);
  const stop = new AbortController();
  const interrupted = (): void => stop.abort();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, interrupted);
  const progress = progressTo(process.stderr);
  progress('starting the sandbox');
  await using sandbox = await Sandbox.open({ runtime, config, echo: wellServer(), signal: stop.signal });
  if (!options.json)
    print(
      `A sandbox of ${file ?? 'no configuration'} on port ${sandbox.target.port}; your running hub is not affected.\n`,
    );
  const outcomes: Outcome[] = []; // bounded by: the troubles
  for (const trouble of troubles) {
    progress(`${outcomes.length + 1} of ${troubles.length}: ${trouble.says}`);
    outcomes.push(await lived({ runtime, sandbox, seconds, signal: stop.signal }, trouble));
    if (stop.signal.aborted) throw new CliFailure(EXIT.interrupted, 'Interrupted; the sandbox was removed.');
  }
  progress('cleaning up');
  await sandbox.close();
  const isKept = outcomes.every((one) => one.promisesBroken.length === 0);
  if (options.json) printJson({ promisesKept: isKept, config: file, seconds, troubles: outcomes });
  else print(reportText(outcomes));
  process.exitCode = isKept ? EXIT.ok : EXIT.error;
}

function chosen(only: readonly string[] | undefined): readonly FaultKind[] {
  const unknown = only?.find((name) => !FAULTS.some((one) => one.name === name));
  if (unknown !== undefined)
    throw new CliFailure(
      EXIT.usage,
      `Unknown fault ${JSON.stringify(unknown)}; available: ${FAULTS.map(({ name }) => name).join(', ')}.`,
    );
  return only ? FAULTS.filter(({ name }) => only.includes(name)) : FAULTS;
}

function secondsFrom(text: string): number {
  const seconds = Number(text);
  if (!Number.isFinite(seconds) || seconds < 1 || seconds > 600)
    throw new CliFailure(EXIT.usage, `--seconds must be between 1 and 600, not ${JSON.stringify(text)}`);
  return seconds;
}

async function readConfig(
  runtime: Runtime,
  options: ChaosOptions,
): Promise<{ config: Readonly<Record<string, unknown>>; file: string | undefined }> {
  using deadline = runtime.deadline(READ_MS);
  const where = { path: options.config, env: process.env, cwd: process.cwd(), home: process.env.HOME ?? '' };
  const file = (await findConfigFile({ ...where, runtime, deadline }))?.file;
  const read = file === undefined ? undefined : await readConfigText(file, runtime.waits, deadline);
  if (read && 'fault' in read) throw new CliFailure(EXIT.badConfig, `${file}: ${read.fault}`);
  return { config: copyOf(read?.text, file ?? '', { withServers: !options.withoutServers }), file };
}

/** Shows progress at a terminal only. */
function progressTo(to: NodeJS.WriteStream): (what: string) => void {
  return (what) => {
    if (to.isTTY) printMessage(paint(`… ${what}`, '2', to));
  };
}

interface Scene {
  readonly runtime: Runtime;
  readonly sandbox: Sandbox;
  readonly seconds: number;
  readonly signal: AbortSignal;
}

async function lived(scene: Scene, trouble: FaultKind): Promise<Outcome> {
  const { runtime, sandbox } = scene;
  const slug = `${SLUG}${trouble.name}`;
  const tool = trouble.server ? `${slug}_work` : undefined;
  using server = trouble.server ? await faultServer(runtime, trouble.server, sandbox.dir) : undefined;
  if (server) await sandbox.use({ [slug]: server.entry }, tool);
  using _undo = await begin(trouble, { scene, slug, server });
  const bornMs = performance.now();
  const load = await loadFor(runtime, sandbox.target, {
    ...scene,
    broken: tool,
    heavy: trouble.act === 'stop-reading',
  });
  const lastedMs = performance.now() - bornMs;
  _undo[Symbol.dispose]();
  if (server) await sandbox.use({}, undefined);
  return outcomeOf(trouble, load, lastedMs, await sandbox.idleAfter());
}

/** Injects the fault; disposing the result ends it. */
async function begin(
  { act }: FaultKind,
  parts: { readonly scene: Scene; readonly slug: string; readonly server: FaultServer | undefined },
): Promise<Disposable> {
  const { sandbox } = parts.scene;
  if (act === 'order') parts.server?.order();
  if (act === 'stop-reading') {
    sandbox.read(false);
    return { [Symbol.dispose]: () => sandbox.read(true) };
  }
  if (act === 'stop-server') {
    const pid = await sandbox.pidOf(parts.slug);
    signalTo(pid, 'SIGSTOP');
    return { [Symbol.dispose]: () => signalTo(pid, 'SIGCONT') };
  }
  // The fault hook of the sandbox: blocks its event loop for a minute.
  if (act === 'block-loop') signalTo(await sandbox.hubPid(), 'SIGUSR2');
  return { [Symbol.dispose]: () => {} };
}

function signalTo(pid: number, signal: NodeJS.Signals): void {
  try {
    if (pid > 1) process.kill(pid, signal);
  } catch {
    // The process does not exist any more: the hub has replaced it.
  }
}

function outcomeOf(trouble: FaultKind, load: Load, lastedMs: number, idleMs: number | undefined): Outcome {
  const seen = {
    health: figuresOf(load.health),
    list: figuresOf(load.list),
    echo: figuresOf(load.echo),
    broken: trouble.server ? figuresOf(load.broken) : undefined,
    outageMs: outageOf(load.health, lastedMs),
    idleMs,
  };
  return { name: trouble.name, says: trouble.says, ...seen, promisesBroken: promisesBroken(trouble, seen) };
}

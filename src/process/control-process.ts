/**
 * The control process: makes the rooms of the control plane in start order, tells the guard how it stands, and stops them in reverse.
 * Promises: a configuration that cannot work is told whole and exits 78; any other failure to start exits 1 (the guard tries again and the
 * hubs serve from the worlds they have); ends within `STOP_MS` of being asked, also when a room hangs.
 * Does not: load downstream, call or upstream (law 7), or see a single call.
 */
import { chmod, mkdir } from 'node:fs/promises';
import { homedir } from 'node:os';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { createAdmin } from '../admin/admin-server.ts';
import { createHubAsker } from '../admin/ask-hub.ts';
import { createRoutes } from '../admin/routes.ts';
import { type Config, findConfigFile, type Loaded, type LoadOptions, loadConfig } from '../config/load.ts';
import { dataDirFrom, relaySocketPath, runDirFor, socketPath } from '../config/paths.ts';
import { createConfigWatch } from '../control/config-watch.ts';
import { createControl } from '../control/control.ts';
import { ensureFirstKey } from '../control/first-key.ts';
import { errorLines } from '../control/reload.ts';
import type { Deadline } from '../kernel/deadline.ts';
import { HubError } from '../kernel/errors.ts';
import { type Beat, GUARD_ENV } from '../kernel/guard-wire.ts';
import { createKernel, type Kernel } from '../kernel/kernel.ts';
import { type Service, startAll, stopAll } from '../kernel/service.ts';
import { createRelayServer } from '../relay/relay-server.ts';
import { openStore, type Store } from '../store/store.ts';
import { createTelemetry } from '../telemetry/telemetry.ts';
import { createGuardLink, type GuardLink } from './guard-link.ts';
import { VERSION } from './version.ts';

const START_MS = 30_000;
const STOP_MS = 5000;
/** sysexits.h EX_CONFIG: starting again does not help. */
const EXIT_CONFIG = 78;

type Env = Readonly<Record<string, string | undefined>>;

interface Places {
  readonly dataDir: string;
  readonly runDir: string;
}

/** Runs until it is told to end; then the process exits. */
export async function runControl(env: Env): Promise<void> {
  const kernel = createKernel();
  const running: Service[] = []; // bounded by: the rooms below
  const voice: Service[] = []; // bounded by: telemetry alone
  let isEnding = false;
  let reload: (() => void) | undefined;

  async function end(code: number, reason: string): Promise<never> {
    // Asked twice: at once.
    if (isEnding) process.exit(code);
    isEnding = true;
    const bornMs = kernel.clock.nowMs();
    using deadline = kernel.deadline(STOP_MS);
    const stuck = await stopAll(running, kernel, deadline);
    const ms = Math.round(kernel.clock.nowMs() - bornMs);
    kernel.bus.publish({ type: 'process-stopped', role: 'control', reason, ms, stuck });
    // The log goes last: it tells of all the others.
    await stopAll(voice, kernel, deadline);
    process.exit(code);
  }

  const guard = createGuardLink({
    drain: (reason) => void end(0, reason),
    reload: () => reload?.(),
    guardGone: () => void end(0, 'the guard is gone'),
  });
  process.on('unhandledRejection', (fault) => kernel.bus.publish({ type: 'task-faulted', task: 'unhandled', fault }));
  process.on('uncaughtException', (fault) => {
    kernel.bus.publish({ type: 'task-faulted', task: 'uncaught', fault });
    void end(1, 'an uncaught fault');
  });

  try {
    using deadline = kernel.deadline(START_MS);
    reload = await start({ kernel, env, guard, running, voice }, deadline);
    const ms = Math.round(performance.now());
    kernel.bus.publish({ type: 'process-started', role: 'control', pid: process.pid, ms });
    guard.say({ t: 'ready', ms });
  } catch (fault) {
    if (fault instanceof HubError && fault.code === 'config-invalid') {
      const { errors } = fault.detail;
      const lines = Array.isArray(errors) ? errors.map(String) : [fault.message];
      guard.say({ t: 'hopeless', lines });
      kernel.bus.publish({ type: 'config-refused', file: env[GUARD_ENV.configFile] ?? '', errors: lines });
      await end(EXIT_CONFIG, 'the configuration cannot work');
    }
    kernel.bus.publish({ type: 'task-faulted', task: 'start control', fault });
    await end(1, fault instanceof Error ? fault.message : String(fault));
  }
}

interface Start {
  readonly kernel: Kernel;
  readonly env: Env;
  readonly guard: GuardLink;
  /** What has started, in order; filled here. */
  readonly running: Service[]; // bounded by: the rooms below
  /** The log, once it is open. */
  readonly voice: Service[]; // bounded by: telemetry alone
}

/** Returns how to read the configuration again. */
async function start({ kernel, env, guard, running, voice }: Start, deadline: Deadline): Promise<() => void> {
  const load = (until: Deadline) => loadFor(kernel, env, until);
  const loaded = await load(deadline);
  const config = configOf(loaded);
  const { limits } = config;
  const places = await makePlaces(env);
  const telemetry = createTelemetry({
    kernel,
    role: 'control',
    slot: 0,
    limits,
    env,
    runDir: places.runDir,
    version: VERSION,
  });
  await startAll([telemetry], kernel, deadline);
  voice.push(telemetry);
  const store = await openStore({ kernel, limits, dir: places.dataDir }, deadline);
  // Stopped in reverse: what rooms have begun may still write, then the store closes.
  running.push(serviceOf('store', (until) => store.close(until)));
  running.push(serviceOf('background', async (until) => void (await kernel.scope.close(until))));
  const control = createControl({
    kernel,
    limits,
    store,
    config,
    digest: loaded.digest,
    load,
    hubs: limits.hubs,
    broadcast: {
      publish: (snapshot) => void relay.publish(snapshot),
      tellMarks: (marks) => relay.tellMarks(marks),
    },
  });
  const relay = createRelayServer({ kernel, limits, socketPath: relaySocketPath(places.runDir), ears: control.ears });
  const isTerminal = env.MCPHUB_TERMINAL === '1';
  const tell = isTerminal ? (lines: readonly string[]) => guard.say({ t: 'tell', lines }) : undefined;
  const firstKey: Service = {
    name: 'first key',
    start: (until) => ensureFirstKey({ kernel, limits, env, tell, keys: control.keys, dataDir: places.dataDir }, until),
    stop: async () => {},
  };
  // The relay opens when the world is whole, so that hubs get it in one piece.
  const watch = createConfigWatch({
    kernel,
    reload: control.reload,
    find: async (until) => (await findConfigFile(searchFor(kernel, env, until)))?.file,
    isOn: () => control.world.config.watchConfig,
  });
  const services = [control, firstKey, relay, adminOf({ kernel, config, store, control, places }), watch];
  await startAll(services, kernel, deadline);
  running.push(...services);
  return () =>
    kernel.scope.run('reload', async () => {
      using until = kernel.deadline(limits.forwardMs);
      await control.reload.again(until);
    });
}

function adminOf(parts: {
  readonly kernel: Kernel;
  readonly config: Config;
  readonly store: Store;
  readonly control: ReturnType<typeof createControl>;
  readonly places: Places;
}): Service {
  const { kernel, config, store, control, places } = parts;
  const { limits } = config;
  const sources = {
    kernel,
    control,
    store,
    version: VERSION,
    port: limits.port,
    startedAtMs: kernel.clock.wallMs(),
    bornMs: kernel.clock.nowMs(),
  };
  const asker = createHubAsker({ kernel, limits, runDir: places.runDir });
  const routes = createRoutes({ ...sources, asker });
  const path = socketPath(places.runDir, 'control', 0);
  return createAdmin({ kernel, limits, socketPath: path, routes, sources, beat: beatOf(kernel) });
}

/** What the guard reads once a second. */
function beatOf(kernel: Kernel): (connections: number) => Beat {
  const loop = monitorEventLoopDelay({ resolution: 20 });
  loop.enable();
  let last = '';
  kernel.bus.listen((fact) => {
    last = fact.type;
  });
  return (connections) => {
    const { rss, heapUsed } = process.memoryUsage();
    const loopMaxMs = Math.round(loop.max / 1e6);
    loop.reset();
    return { pid: process.pid, rssBytes: rss, heapBytes: heapUsed, loopMaxMs, calls: 0, connections, streams: 0, last };
  };
}

function loadFor(kernel: Kernel, env: Env, deadline: Deadline): Promise<Loaded> {
  return loadConfig(searchFor(kernel, env, deadline));
}

function searchFor(kernel: Kernel, env: Env, deadline: Deadline): LoadOptions {
  return { env, cwd: process.cwd(), home: env.HOME ?? homedir(), kernel, deadline };
}

function configOf({ config, problems }: Loaded): Config {
  if (config) return config;
  throw new HubError('config-invalid', { detail: { errors: errorLines(problems) } });
}

/** The guard has made them; a process that is run by itself makes its own. */
async function makePlaces(env: Env): Promise<Places> {
  const dataDir = dataDirFrom(env, env.HOME ?? homedir());
  const runDir = env[GUARD_ENV.runDir] ?? runDirFor(dataDir);
  for (const dir of [dataDir, runDir]) await mkdir(dir, { recursive: true, mode: 0o700 });
  await chmod(runDir, 0o700);
  return { dataDir, runDir };
}

/** Something that is there already and only has to be stopped. */
function serviceOf(name: string, stop: (deadline: Deadline) => Promise<void>): Service {
  return { name, stop, start: async () => {} };
}

/**
 * Creates the modules of the control process and starts them in order. Does not import downstream, call or upstream
 * (two planes).
 * Guarantees: the relay opens when the snapshot is complete, so that workers get it as a whole; everything started is
 * in `running`, also when a later module fails.
 */
import { chmod, mkdir } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { AdminServer } from '../admin/admin-server.ts';
import { createHubAsker } from '../admin/ask-hub.ts';
import { Routes } from '../admin/routes.ts';
import { CurrentLimits } from '../config/current-limits.ts';
import { unsafeSocketDir } from '../config/file-access.ts';
import { type Limits, withFormerNames } from '../config/limits.ts';
import { type Config, findConfigFile, type LoadOptions, loadConfig } from '../config/load.ts';
import { dataDirFrom, relaySocketPath, runDirFor, socketPath } from '../config/paths.ts';
import { createConfigWatcher } from '../control/config-watcher.ts';
import { Control } from '../control/control.ts';
import { ensureFirstKey } from '../control/first-key.ts';
import { HubError } from '../model/errors.ts';
import { type Heartbeat, KEYS_SOCKET, PROCESS_ENV, WORKERS_SOCKET } from '../model/supervisor-messages.ts';
import { createKeysFile } from '../relay/keys-file.ts';
import { KeysServer } from '../relay/keys-server.ts';
import { RelayServer } from '../relay/relay-server.ts';
import type { Deadline } from '../runtime/deadline.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { type Service, startAll } from '../runtime/service.ts';
import { waitSummary } from '../runtime/wait-summary.ts';
import { openStore, type Store } from '../store/store.ts';
import { createTelemetry } from '../telemetry/telemetry.ts';
import { followLimits } from './follow-limits.ts';
import type { SupervisorChannel } from './supervisor-channel.ts';
import { VERSION } from './version.ts';

type Env = Readonly<Record<string, string | undefined>>;

export interface ControlStart {
  readonly runtime: Runtime;
  readonly env: Env;
  readonly supervisor: SupervisorChannel;
  /** Returns undefined while the supervisor has sent none. */
  readonly workerToken: () => string | undefined;
  readonly config: Config;
  /** The port that is open, and the number of workers. */
  readonly port: number;
  readonly workers: number;
  /** Digest of the content of the configuration file. */
  readonly digest: string | undefined;
  /** Where to search for it again. */
  readonly search: (deadline: Deadline) => LoadOptions;
  /** Services that have started, in order; filled by `startControl`. */
  readonly running: Service[]; // bounded by: the services below
  /** The log, once it is open. */
  readonly logServices: Service[]; // bounded by: telemetry alone
}

interface Places {
  readonly dataDir: string;
  readonly runDir: string;
}

/** Starts the modules. Returns a function that reads the configuration again. Throws what a module throws. */
export async function startControl(start: ControlStart, deadline: Deadline): Promise<() => void> {
  const { runtime, env, supervisor, config, digest, search, running, logServices } = start;
  const currentLimits = new CurrentLimits(config.limits);
  const { limits } = currentLimits;
  followLimits(runtime, currentLimits);
  const places = await makePlaces(env);
  const { runDir } = places;
  const telemetry = createTelemetry({ runtime, role: 'control', slot: 0, limits, env, runDir, version: VERSION });
  await startAll([telemetry], runtime, deadline);
  logServices.push(telemetry);
  const store = await openStore({ runtime, limits, dir: places.dataDir }, deadline);
  // Services stop in reverse order: modules may still write, then the store closes.
  running.push(serviceOf('store', (until) => store.close(until)));
  running.push(serviceOf('background', async (until) => void (await runtime.scope.close(until))));
  const control = new Control({
    runtime,
    limits,
    store,
    config,
    digest,
    load: (until) => loadConfig(search(until)),
    workers: start.workers,
    broadcast: {
      publish: (snapshot) => relay.publish(snapshot),
      publishKeys(frame) {
        keys.publish(frame);
        keysFile.write(frame);
      },
      workers: () => keys.workers(),
      awaitConfirmation: (want, hubs, until) => keys.awaitConfirmation(want, hubs, until),
      sendSessionRecords: (marks) => relay.sendSessionRecords(marks),
      relist: () => relay.relist(),
    },
  });
  const relay = new RelayServer({
    runtime,
    limits,
    socketPath: relaySocketPath(places.runDir),
    handlers: control.handlers,
  });
  const keys = new KeysServer({
    runtime,
    limits,
    socketPath: join(runDir, KEYS_SOCKET),
    onRevisionSeen: (revision) => control.publisher.raiseAbove(revision),
  });
  const keysFile = createKeysFile({ runtime, dir: places.dataDir });
  runtime.bus.listen((event) => {
    if (event.type !== 'config-applied') return;
    const { limits: configured } = control.state.config;
    currentLimits.adopt(configured);
    // Workers that start later are made from them.
    supervisor.send({ t: 'configured', limits: withFormerNames(configured), lines: [] });
  });
  const isTerminal = env.MCPHUB_TERMINAL === '1';
  const show = isTerminal ? (lines: readonly string[]) => supervisor.send({ t: 'tell', lines }) : undefined;
  const firstKey: Service = {
    name: 'first key',
    async start(until) {
      await ensureFirstKey(
        { runtime, port: start.port, env, show, keys: control.keys, dataDir: places.dataDir },
        until,
      );
      // Before the relay opens: a worker with its first snapshot must know the first key.
      control.publisher.publishNow();
    },
    stop: async () => {},
  };
  const watch = createConfigWatcher({
    runtime,
    reload: control.reload,
    find: async (until) => (await findConfigFile(search(until)))?.file,
    isOn: () => control.state.config.watchConfig,
  });
  const services = [control, firstKey, keys, relay, adminOf({ ...start, limits, store, control, places }), watch];
  await startAll(services, runtime, deadline);
  running.push(...services);
  return () =>
    runtime.scope.run('reload', async () => {
      using until = runtime.deadline(limits.forwardMs);
      await control.reload.reloadNow(until);
    });
}

function adminOf(parts: {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly port: number;
  readonly store: Store;
  readonly control: Control;
  readonly places: Places;
  readonly workerToken: () => string | undefined;
}): Service {
  const { runtime, limits, port, store, control, places, workerToken } = parts;
  const sources = {
    arrivals: { operator: 0, workers: 0, refused: 0 },
    runtime,
    control,
    store,
    version: VERSION,
    port,
    startedAtMs: runtime.clock.wallMs(),
    bornMs: runtime.clock.nowMs(),
  };
  const asker = createHubAsker({ runtime, limits, runDir: places.runDir });
  const routes = new Routes({ ...sources, limits, asker });
  const sockets = {
    operator: socketPath(places.runDir, 'control', 0),
    workers: join(places.runDir, WORKERS_SOCKET),
  };
  return new AdminServer({ runtime, limits, sockets, workerToken, routes, sources, beat: beatOf(runtime) });
}

/** Returns the heartbeat that the supervisor reads once a second. */
function beatOf(runtime: Runtime): (connections: number) => Heartbeat {
  const loop = monitorEventLoopDelay({ resolution: 20 });
  loop.enable();
  let last = '';
  runtime.bus.listen((fact) => {
    last = fact.type;
  });
  return (connections) => {
    const { rss, heapUsed } = process.memoryUsage();
    const loopMaxMs = Math.round(loop.max / 1e6);
    loop.reset();
    return {
      pid: process.pid,
      rssBytes: rss,
      heapBytes: heapUsed,
      loopMaxMs,
      calls: 0,
      connections,
      streams: 0,
      last,
      waits: waitSummary(runtime.waits.table()),
    };
  };
}

/** The supervisor has usually created these directories; a process that is started alone creates its own. */
async function makePlaces(env: Env): Promise<Places> {
  const dataDir = dataDirFrom(env, env.HOME ?? homedir());
  const runDir = env[PROCESS_ENV.runDir] ?? runDirFor(dataDir);
  for (const dir of [dataDir, runDir]) await mkdir(dir, { recursive: true, mode: 0o700 });
  await chmod(runDir, 0o700);
  assertSafe(runDir);
  return { dataDir, runDir };
}

/** Another user who owns the directory could replace the private sockets. */
function assertSafe(runDir: string): void {
  const fault = unsafeSocketDir(runDir);
  if (fault !== undefined) throw new HubError('internal', { message: `The socket directory is unsafe: ${fault}` });
}

/** Wraps something that already runs and only has to be stopped. */
function serviceOf(name: string, stop: (deadline: Deadline) => Promise<void>): Service {
  return { name, stop, start: async () => {} };
}

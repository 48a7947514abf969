/**
 * A worker process: reads the last snapshot from disk, creates its modules, serves, and stops in order. Does not import
 * store, control or admin.
 * Guarantees: serves from the snapshot on disk while control is unavailable; on stop it is first not ready, running
 * calls may finish, and everything ends by `stopMs`; if the supervisor exits, it ends its servers' processes and
 * itself.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { proxySecrets, secretValuesOf } from '../model/secret-values.ts';
import { SnapshotHolder } from '../model/snapshot.ts';
import { predecessorSocketName, socketName } from '../model/supervisor-messages.ts';
import { createEgress, type Egress } from '../net/egress.ts';
import { SnapshotFile } from '../relay/snapshot-file.ts';
import type { Deadline } from '../runtime/deadline.ts';
import { createRuntime, type Runtime } from '../runtime/runtime.ts';
import { readOrCreateSecrets } from '../seal/secret-file.ts';
import { InstallLock } from '../subprocess/install/install-lock.ts';
import { SearchPath } from '../subprocess/prepare/search-path.ts';
import { createTelemetry, type Telemetry } from '../telemetry/telemetry.ts';
import { WorkerHandover } from '../upstream/worker-handover.ts';
import { saveCompileCacheOnce } from './compile-cache.ts';
import { ControlLinks } from './control-links.ts';
import { Drain } from './drain.ts';
import { faultHooks } from './fault-hooks.ts';
import { holdMessages } from './held-messages.ts';
import { endOrphanedControl } from './orphaned-processes.ts';
import { sessionMemory } from './session-memory.ts';
import { reportStates } from './state-reports.ts';
import { openSupervisorChannel, type SupervisorChannel } from './supervisor-channel.ts';
import { type TransportMaker, transportMaker } from './transport-factory.ts';
import { VERSION } from './version.ts';
import { endWorker, reportUncaught } from './worker-end.ts';
import { readWorkerEnvironment, type WorkerEnvironment } from './worker-environment.ts';
import { workerLimits } from './worker-limits.ts';
import { createWorkerParts, type WorkerParts } from './worker-parts.ts';
import { keepName, WorkerSockets } from './worker-sockets.ts';

const BOOT_MS = 10_000;
/** Time limit in ms until the configuration is read and the port is open. */
const GO_MS = 30_000;
/** A replacement worker takes over when its servers are up, or after this time in ms. */
const WARM_MS = 10_000;
const WARM_LOOK_MS = 50;

type CurrentLimits = Awaited<ReturnType<typeof workerLimits>>;

/** What is created first, from the environment and the disk. */
interface Base {
  readonly runtime: Runtime;
  readonly environment: WorkerEnvironment;
  readonly currentLimits: CurrentLimits;
  readonly file: SnapshotFile;
  readonly telemetry: Telemetry;
  readonly snapshots: SnapshotHolder;
}

/** What leads out of the process. */
interface Outside {
  readonly egress: Egress;
  readonly makeTransport: TransportMaker;
}

/** What the supervisor has said. */
interface Supervised {
  workerToken: string | undefined;
  /** The supervisor has exited. */
  isAlone: boolean;
}

interface Worker extends Base, Outside {
  readonly supervised: Supervised;
  readonly predecessor: string | undefined;
  readonly handover: WorkerHandover;
  readonly links: ControlLinks;
  readonly parts: WorkerParts;
}

export async function runWorker(env: NodeJS.ProcessEnv): Promise<void> {
  const bornMs = performance.now();
  const runtime = createRuntime();
  // Before `go` nothing of this worker may be seen: no server is started for a configuration that is refused.
  const held = holdMessages();
  using patience = runtime.deadline(GO_MS);
  const go = await runtime.waits.for(held.go, { label: 'service-start', owner: 'the port', deadline: patience });
  using boot = runtime.deadline(BOOT_MS);
  const environment = readWorkerEnvironment(env);
  const file = new SnapshotFile({ runtime, dir: environment.dataDir, slot: environment.slot });
  const fromDisk = await file.read(boot);
  const currentLimits = await workerLimits({ runtime, env, fromDisk, go }, boot);
  const telemetry = await startTelemetry({ runtime, environment, currentLimits }, boot);
  const snapshots = new SnapshotHolder();
  maskSecrets(runtime, env, snapshots);
  const searchPath = new SearchPath({ runtime, env });
  const base = { runtime, environment, currentLimits, file, telemetry, snapshots };
  const worker = await createWorker(base, createOutside(base, searchPath), boot);
  const drain = drainOf(worker);
  const supervisor = obeySupervisor(worker, drain);
  held.release();
  reportUncaught(worker);
  faultHooks(env, runtime);

  await searchPath.start(boot);
  const sockets = new WorkerSockets({ runtime, runDir: environment.runDir, slot: environment.slot, drain });
  await sockets.listen(worker.parts, boot);
  if (!environment.isReplacement) await sockets.takeNames(boot);
  if (fromDisk) {
    worker.parts.take(fromDisk, 'disk');
    worker.parts.health.started();
  }
  await connectToControl(worker, boot);
  if (environment.isReplacement) {
    await warm(runtime, worker.parts);
    using last = runtime.deadline(BOOT_MS);
    await sockets.takeNames(last);
  }
  reportReady(worker, supervisor, Math.round(performance.now() - bornMs));
  saveCompileCacheOnce(runtime, 'hub');
}

async function startTelemetry(
  { runtime, environment, currentLimits }: Pick<Base, 'runtime' | 'environment' | 'currentLimits'>,
  deadline: Deadline,
): Promise<Telemetry> {
  const { slot, runDir, variables: env } = environment;
  const { limits } = currentLimits;
  const telemetry = createTelemetry({ runtime, role: 'hub', slot, limits, env, runDir, version: VERSION });
  await telemetry.start(deadline);
  return telemetry;
}

/** Masks the secrets of the environment, and those of the newest snapshot. */
function maskSecrets(runtime: Runtime, env: NodeJS.ProcessEnv, snapshots: SnapshotHolder): void {
  const own = [env.MCPHUB_SECRET ?? '', env.MCPHUB_BOOTSTRAP_KEY ?? '', ...proxySecrets(env)];
  runtime.secrets.use(own);
  snapshots.onSwap((now) => runtime.secrets.use([...own, ...secretValuesOf(now.servers)]));
}

function createOutside(base: Base, searchPath: SearchPath): Outside {
  const { runtime, environment } = base;
  const { slot, dataDir, configDir, mark, variables: env } = environment;
  const { limits } = base.currentLimits;
  const egress = createEgress({ runtime, limits, env });
  const makeTransport = transportMaker({
    runtime,
    limits,
    egress,
    searchPath,
    installLock: new InstallLock({ runtime, limits }),
    mark,
    configDir,
    sessions: sessionMemory({ runtime, limits, dir: dataDir, slot }),
  });
  return { egress, makeTransport };
}

async function createWorker(base: Base, outside: Outside, boot: Deadline): Promise<Worker> {
  const { runtime, environment, currentLimits, file, telemetry, snapshots } = base;
  const { slot, dataDir, runDir, mark, isReplacement, leavingSocket, variables: env } = environment;
  const { limits } = currentLimits;
  const socketPath = join(runDir, socketName('hub', slot));
  const predecessor = isReplacement
    ? await keepName(runtime, socketPath, join(runDir, predecessorSocketName(process.pid)), boot)
    : leavingSocket;
  const handover = new WorkerHandover({ runtime, limits, socketPath, predecessor, mark });
  const sealing = { secret: env.MCPHUB_SECRET, secretFile: env.MCPHUB_SECRET_FILE, dataDir, waits: runtime.waits };
  const secrets = await readOrCreateSecrets(sealing, boot);
  const supervised: Supervised = { workerToken: undefined, isAlone: false };
  const links = new ControlLinks({ runtime, limits, environment, snapshots, receiver: () => parts });
  const parts: WorkerParts = createWorkerParts({
    runtime,
    currentLimits,
    slot,
    version: VERSION,
    runDir,
    snapshots,
    secrets,
    makeTransport: outside.makeTransport,
    handover,
    predecessor,
    gauges: () => telemetry.gauges(),
    counts: () => telemetry.counts(),
    controlConnected: () => links.relay.connected,
    keysAgeMs: () => links.keys.ageMs,
    workerToken: () => supervised.workerToken,
    lastFacts: () => telemetry.lastFacts(),
    listed: (listing) => links.relay.sendListing(listing),
    built: (snapshot) => file.write(snapshot),
  });
  links.sendFrom(parts);
  return { ...base, ...outside, supervised, predecessor, handover, links, parts };
}

function drainOf(worker: Worker): Drain {
  const { runtime, environment, currentLimits, supervised, parts, links, egress, file, telemetry } = worker;
  const { mark, variables } = environment;
  return new Drain({
    runtime,
    limits: currentLimits.limits,
    parts,
    isTerminal: variables.MCPHUB_TERMINAL === '1',
    closers: links.closers(),
    egress,
    end: async (code) => {
      if (supervised.isAlone) await endOrphanedControl({ runtime, mark }, () => !links.relay.connected);
      return endWorker({ runtime, file, telemetry, mark }, code);
    },
  });
}

function obeySupervisor({ supervised, links, parts, handover }: Worker, drain: Drain): SupervisorChannel {
  return openSupervisorChannel({
    controlReady: () => links.reconnect(),
    workerToken: (token) => {
      supervised.workerToken = token;
    },
    connection: (socket) => parts.front.accept(socket),
    drain: (reason) => drain.begin(reason),
    leave() {
      handover.leave();
      drain.leave();
    },
    supervisorGone: () => {
      supervised.isAlone = true;
      drain.abandon('the supervisor has exited');
    },
  });
}

async function connectToControl({ runtime, links, parts, currentLimits }: Worker, boot: Deadline): Promise<void> {
  await links.start(boot);
  reportStates({
    runtime,
    relay: links.relay,
    statuses: () => parts.registry.statuses(),
    requests: () => parts.front.counts(),
    awaitingRestart: () => currentLimits.awaitingRestart,
    takeUsedKeys: () => parts.takeUsedKeys(),
  });
}

/** Reports that the worker serves, and takes over the servers of its predecessor. `ms`: duration of the start. */
function reportReady(worker: Worker, supervisor: SupervisorChannel, ms: number): void {
  const { runtime, environment, predecessor, handover, parts } = worker;
  runtime.bus.publish({ type: 'process-started', role: `hub-${environment.slot}`, pid: process.pid, ms });
  supervisor.send({ t: 'ready', ms });
  handover.takeFrom(parts.registry, () => {
    if (predecessor !== undefined) runtime.scope.run('forget the predecessor', () => rm(predecessor, { force: true }));
  });
}

/** Settles when no server is starting any more; servers that stay down do not delay the replacement. */
function warm(runtime: Runtime, parts: WorkerParts): Promise<void> {
  const isUp = (): boolean =>
    parts.registry
      .statuses()
      .every(({ state, restarts }) => state !== 'connecting' && !(state === 'idle' && restarts === 0));
  return new Promise((resolve) => {
    const untilMs = runtime.clock.nowMs() + WARM_MS;
    const look = runtime.timers.every(WARM_LOOK_MS, () => {
      if (!isUp() && runtime.clock.nowMs() < untilMs) return;
      look[Symbol.dispose]();
      resolve();
    });
  });
}

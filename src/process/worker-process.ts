/**
 * A worker process: reads the last snapshot from disk, creates its modules, serves, and stops in order. Does not import
 * store, control or admin.
 * Guarantees: serves from the snapshot on disk while control is unavailable; on stop it is first not ready, running
 * calls may finish, and everything ends by `stopMs`; if the supervisor exits, it ends its servers' processes and
 * itself.
 */
import { rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { proxySecrets, secretValuesOf } from '../model/secret-values.ts';
import { SnapshotHolder } from '../model/snapshot.ts';
import {
  DESCENDANT_MARK,
  KEYS_SOCKET,
  PROCESS_ENV,
  predecessorSocketName,
  RELAY_SOCKET,
  socketName,
} from '../model/supervisor-messages.ts';
import { createEgress } from '../net/egress.ts';
import { KeysClient } from '../relay/keys-client.ts';
import { RelayClient } from '../relay/relay-client.ts';
import { SnapshotFile } from '../relay/snapshot-file.ts';
import { createRuntime, type Runtime } from '../runtime/runtime.ts';
import { readOrCreateSecrets } from '../seal/secret-file.ts';
import { createInstallLock } from '../subprocess/install/install-lock.ts';
import { createSearchPath } from '../subprocess/prepare/search-path.ts';
import { sweepMarked } from '../subprocess/terminate/sweep.ts';
import { createTelemetry } from '../telemetry/telemetry.ts';
import { WorkerHandover } from '../upstream/worker-handover.ts';
import { enableCompileCache } from './compile-cache.ts';
import { createDrain } from './drain.ts';
import { faultHooks } from './fault-hooks.ts';
import { holdMessages } from './held-messages.ts';
import { endOrphanedControl } from './orphaned-processes.ts';
import { sessionMemory } from './session-memory.ts';
import { reportStates } from './state-reports.ts';
import { openSupervisorChannel } from './supervisor-channel.ts';
import { transportMaker } from './transport-factory.ts';
import { VERSION } from './version.ts';
import { workerLimits } from './worker-limits.ts';
import { createWorkerParts, type WorkerParts } from './worker-parts.ts';
import { keepName, WorkerSockets } from './worker-sockets.ts';

const BOOT_MS = 10_000;
/** Time limit in ms until the configuration is read and the port is open. */
const GO_MS = 30_000;
/** A replacement worker takes over when its servers are up, or after this time in ms. */
const WARM_MS = 10_000;
const WARM_LOOK_MS = 50;
const SWEEP_MS = 3000;
const LAST_LINES_MS = 300;

export async function runWorker(env: NodeJS.ProcessEnv): Promise<void> {
  const bornMs = performance.now();
  const runtime = createRuntime();
  const slot = Number(env[PROCESS_ENV.slot] ?? 1);
  const dataDir = env[PROCESS_ENV.dataDir] ?? '.';
  const runDir = env[PROCESS_ENV.runDir] ?? join(dataDir, 'run');
  const mark = env[DESCENDANT_MARK] ?? `mcphub.hub-${slot}.${process.pid}`;
  // Before `go` nothing of this worker may be seen: no server is started for a configuration that is refused.
  const held = holdMessages();
  using patience = runtime.deadline(GO_MS);
  const go = await runtime.waits.for(held.go, { label: 'service-start', owner: 'the port', deadline: patience });
  using boot = runtime.deadline(BOOT_MS);

  const file = new SnapshotFile({ runtime, dir: dataDir, slot });
  const fromDisk = await file.read(boot);
  const currentLimits = await workerLimits({ runtime, env, fromDisk, go }, boot);
  const { limits } = currentLimits;
  const telemetry = createTelemetry({ runtime, role: 'hub', slot, limits, env, runDir, version: VERSION });
  await telemetry.start(boot);

  const egress = createEgress({ runtime, limits, env });
  const searchPath = createSearchPath({ runtime, env });
  const installLock = createInstallLock({ runtime, limits });
  const makeTransport = transportMaker({
    runtime,
    limits,
    egress,
    searchPath,
    installLock,
    mark,
    configDir: dirname(env[PROCESS_ENV.configFile] ?? '.'),
    sessions: sessionMemory({ runtime, limits, dir: dataDir, slot }),
  });
  const snapshots = new SnapshotHolder();
  const own = [env.MCPHUB_SECRET ?? '', env.MCPHUB_BOOTSTRAP_KEY ?? '', ...proxySecrets(env)];
  runtime.secrets.use(own);
  snapshots.onSwap((now) => runtime.secrets.use([...own, ...secretValuesOf(now.servers)]));
  const isReplacement = env[PROCESS_ENV.replacement] === '1';
  const socketPath = join(runDir, socketName('hub', slot));
  const leaving = env[PROCESS_ENV.leaving];
  const predecessor = isReplacement
    ? await keepName(runtime, socketPath, join(runDir, predecessorSocketName(process.pid)), boot)
    : leaving && join(runDir, leaving);
  const handover = new WorkerHandover({ runtime, limits, socketPath, predecessor, mark });
  let workerToken: string | undefined;
  const relay: RelayClient = new RelayClient({
    runtime,
    limits,
    socketPath: join(runDir, RELAY_SOCKET),
    slot,
    life: Number(mark.split('.').at(-1)) || 0,
    onSnapshot: (snapshot) => {
      parts.take(snapshot, 'control');
      parts.health.started();
    },
    onSessionRecords: (records) => parts.sessionRecords.apply(records),
    onRelist: () => parts.registry.relist(),
    current: () => snapshots.current,
    listing: (server) => parts.listing(server),
  });
  const parts: WorkerParts = createWorkerParts({
    runtime,
    currentLimits,
    slot,
    version: VERSION,
    runDir,
    snapshots,
    secrets: await readOrCreateSecrets(
      { secret: env.MCPHUB_SECRET, secretFile: env.MCPHUB_SECRET_FILE, dataDir, waits: runtime.waits },
      boot,
    ),
    makeTransport,
    handover,
    predecessor,
    gauges: () => telemetry.gauges(),
    counts: () => telemetry.counts(),
    controlConnected: () => relay.connected,
    keysAgeMs: () => keys.ageMs,
    workerToken: () => workerToken,
    lastFacts: () => telemetry.lastFacts(),
    listed: (listing) => relay.sendListing(listing),
    built: (world) => file.write(world),
  });
  const keys = new KeysClient({
    runtime,
    limits,
    slot,
    socketPath: join(runDir, KEYS_SOCKET),
    applied: () => parts.access.applied,
    onKeys: (frame) => parts.takeKeys(frame),
  });
  parts.access.onApplied(() => keys.confirm());
  parts.sessionRecords.onRecord((record) => relay.sendSessionRecord(record));
  runtime.bus.listen((fact) => {
    // One per call; control stores no activity yet, and the log contains them.
    if (fact.type !== 'call-answered' && fact.type !== 'server-said') relay.sendFact(fact);
  });

  let isAlone = false;
  const drain = createDrain({
    runtime,
    limits,
    parts,
    isTerminal: env.MCPHUB_TERMINAL === '1',
    closers: [() => relay.stop(runtime.deadline(1000)), () => keys.stop(runtime.deadline(1000))],
    egress,
    end: async (code) => {
      if (isAlone) await endOrphanedControl({ runtime, mark }, () => !relay.connected);
      return end(runtime, { file, telemetry, mark }, code);
    },
  });
  const supervisor = openSupervisorChannel({
    controlReady() {
      keys.reconnect();
      relay.reconnect();
    },
    workerToken: (token) => {
      workerToken = token;
    },
    connection: (socket) => parts.front.accept(socket),
    drain: (reason) => drain.begin(reason),
    leave() {
      handover.leave();
      drain.leave();
    },
    supervisorGone: () => {
      isAlone = true;
      drain.abandon('the supervisor has exited');
    },
  });
  held.release();
  process.on('unhandledRejection', (fault) => runtime.bus.publish({ type: 'task-faulted', task: 'unhandled', fault }));
  process.on('uncaughtException', (fault) => {
    runtime.bus.publish({ type: 'task-faulted', task: 'uncaught', fault });
    // The state of the process is unknown now: it reports the fault and exits; the supervisor starts the next instance
    // at once.
    void telemetry
      .stop(runtime.deadline(LAST_LINES_MS))
      .catch(() => {})
      .then(() => process.exit(1));
  });
  faultHooks(env, runtime);

  await searchPath.start(boot);
  const sockets = new WorkerSockets({ runtime, runDir, slot, drain });
  await sockets.listen(parts, boot);
  if (!isReplacement) await sockets.takeNames(boot);
  if (fromDisk) {
    parts.take(fromDisk, 'disk');
    parts.health.started();
  }
  await keys.start(boot);
  await relay.start(boot);
  reportStates({
    runtime,
    relay,
    statuses: () => parts.registry.statuses(),
    requests: () => parts.front.counts(),
    awaitingRestart: () => currentLimits.awaitingRestart,
    takeUsedKeys: () => parts.takeUsedKeys(),
  });
  if (isReplacement) {
    await warm(runtime, parts);
    using last = runtime.deadline(BOOT_MS);
    await sockets.takeNames(last);
  }
  const ms = Math.round(performance.now() - bornMs);
  runtime.bus.publish({ type: 'process-started', role: `hub-${slot}`, pid: process.pid, ms });
  supervisor.send({ t: 'ready', ms });
  handover.takeFrom(parts.registry, () => {
    if (predecessor !== undefined) runtime.scope.run('forget the predecessor', () => rm(predecessor, { force: true }));
  });
  enableCompileCache(runtime);
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

/** The last steps: pending writes to disk, orphaned processes, the last lines of the log. */
async function end(
  runtime: Runtime,
  last: {
    file: SnapshotFile;
    telemetry: { stop(deadline: ReturnType<Runtime['deadline']>): Promise<void> };
    mark: string;
  },
  code: number,
): Promise<never> {
  const deadline = runtime.deadline(SWEEP_MS);
  const pids = await sweepMarked(last.mark, deadline).catch(() => []);
  if (pids.length > 0) runtime.bus.publish({ type: 'children-swept', pids });
  await last.file.flush(deadline).catch(() => {});
  await last.telemetry.stop(deadline).catch(() => {});
  process.exit(code);
}

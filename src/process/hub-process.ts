/**
 * A hub as a process: reads the last world from disk, makes its rooms, serves, and ends in order.
 * Promises: serves from the world on disk when control is away; readiness goes off first when it ends, calls in progress may finish, everything
 * is over by `stopMs`; if the guard dies, its servers' processes are ended and so is it.
 * Does not: load store, control or admin (law 7).
 */
import { chmod } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { limitsFrom } from '../config/limits.ts';
import { DESCENDANT_MARK, GUARD_ENV, RELAY_SOCKET, socketName } from '../kernel/guard-wire.ts';
import { createKernel, type Kernel } from '../kernel/kernel.ts';
import { SnapshotHolder } from '../kernel/snapshot.ts';
import { createEgress } from '../net/egress.ts';
import { createRelayClient, type RelayClient } from '../relay/relay-client.ts';
import { createSnapshotFile, type SnapshotFile } from '../relay/snapshot-file.ts';
import { readOrMakeSecrets } from '../seal/secret-file.ts';
import { createTelemetry } from '../telemetry/telemetry.ts';
import { createInstallLock } from '../upstream/child/install-lock.ts';
import { createSearchPath } from '../upstream/child/search-path.ts';
import { sweepMarked } from '../upstream/child/sweep.ts';
import { createDrain } from './drain.ts';
import { envLimits } from './env-limits.ts';
import { faultHooks } from './fault-hooks.ts';
import { createGuardLink } from './guard-link.ts';
import { createHubParts, type HubParts } from './hub-parts.ts';
import { keepCompiledCode } from './keep-code.ts';
import { endControlLeft } from './left-behind.ts';
import { transportMaker } from './transports.ts';
import { VERSION } from './version.ts';

const BOOT_MS = 10_000;
/** Until the configuration is read and the port is open; control's part of a start. */
const GO_MS = 30_000;
const TELL_EVERY_MS = 1000;
const SWEEP_MS = 3000;

export async function runHub(env: NodeJS.ProcessEnv): Promise<void> {
  const bornMs = performance.now();
  const kernel = createKernel();
  const slot = Number(env[GUARD_ENV.slot] ?? 1);
  const dataDir = env[GUARD_ENV.dataDir] ?? '.';
  const runDir = env[GUARD_ENV.runDir] ?? join(dataDir, 'run');
  const mark = env[DESCENDANT_MARK] ?? `mcphub.hub-${slot}.${process.pid}`;
  using boot = kernel.deadline(BOOT_MS);

  const file = createSnapshotFile({ kernel, dir: dataDir, slot });
  const fromDisk = await file.read(boot);
  const limits = { ...limitsFrom({ ...envLimits(env), ...fromDisk?.limits }) };
  const telemetry = createTelemetry({ kernel, role: 'hub', slot, limits, env, runDir, version: VERSION });
  await telemetry.start(boot);

  const egress = createEgress({ kernel, limits, env });
  const searchPath = createSearchPath({ kernel, env });
  const installLock = createInstallLock({ kernel, limits });
  const makeTransport = transportMaker({
    kernel,
    limits,
    egress,
    searchPath,
    installLock,
    configDir: dirname(env[GUARD_ENV.configFile] ?? '.'),
    mark,
  });
  const snapshots = new SnapshotHolder();
  const relay: RelayClient = createRelayClient({
    kernel,
    limits,
    socketPath: join(runDir, RELAY_SOCKET),
    slot,
    onSnapshot: (snapshot) => {
      parts.take(snapshot, 'control');
      parts.health.started();
      file.write(parts.world());
    },
    onMarks: (marks) => parts.marks.take(marks),
    revision: () => snapshots.current.revision,
  });
  const parts: HubParts = createHubParts({
    kernel,
    limits,
    slot,
    version: VERSION,
    runDir,
    snapshots,
    secrets: await readOrMakeSecrets(
      { secret: env.MCPHUB_SECRET, secretFile: env.MCPHUB_SECRET_FILE, dataDir, waits: kernel.waits },
      boot,
    ),
    makeTransport,
    gauges: () => telemetry.gauges(),
    counts: () => telemetry.counts(),
    controlConnected: () => relay.connected,
    lastFacts: () => telemetry.lastFacts(),
    listed: (listing) => {
      relay.sendListing(listing);
      file.write(parts.world());
    },
  });
  parts.marks.onMark((mark) => relay.sendMark(mark));
  kernel.bus.listen((fact) => {
    // One a call; control keeps no activity yet, and the log has them.
    if (fact.type !== 'call-answered' && fact.type !== 'server-said') relay.sendFact(fact);
  });

  let isAlone = false;
  const drain = createDrain({
    kernel,
    limits,
    parts,
    closers: [() => relay.stop(kernel.deadline(1000))],
    egress,
    end: async (code) => {
      if (isAlone) await endControlLeft({ kernel, mark }, () => !relay.connected);
      return end(kernel, { file, telemetry, mark }, code);
    },
  });
  const go = Promise.withResolvers<void>();
  const guard = createGuardLink({
    go: () => go.resolve(),
    controlReady: () => relay.again(),
    connection: (socket) => parts.front.accept(socket),
    drain: (reason) => drain.begin(reason),
    guardGone: () => {
      isAlone = true;
      drain.abandon('the guard is gone');
    },
  });
  if (!guard.attached) go.resolve();
  faultHooks(env, kernel);

  await searchPath.start(boot);
  // The front listens on a private socket too: the runtime arms its watch over slow clients only on a server that listens.
  for (const [listener, name] of [
    [parts.front, `front-${slot}.sock`],
    [parts.privateFront, socketName('hub', slot)],
  ] as const) {
    const path = join(runDir, name);
    await listener.listen({ path }, boot);
    // The directory is closed to others already; twice holds better.
    await kernel.waits.for(chmod(path, 0o600), { label: 'service-start', owner: name, deadline: boot });
  }
  // Before it nothing of this hub may be seen: no server is started for a configuration that is refused.
  using patience = kernel.deadline(GO_MS);
  await kernel.waits.for(go.promise, { label: 'service-start', owner: 'the port', deadline: patience });
  if (fromDisk) {
    parts.take(fromDisk, 'disk');
    parts.health.started();
  }
  await relay.start(boot);
  tellControl(kernel, relay, parts);
  const ms = Math.round(performance.now() - bornMs);
  kernel.bus.publish({ type: 'process-started', role: `hub-${slot}`, pid: process.pid, ms });
  guard.say({ t: 'ready', ms });
  keepCompiledCode(kernel);
}

/** Servers' states and used keys, told to control once a second when they changed. */
function tellControl(kernel: Kernel, relay: RelayClient, parts: HubParts): void {
  kernel.timers.every(TELL_EVERY_MS, () => {
    relay.sendStatuses(parts.fleet.statuses());
    const used = parts.takeUsedKeys();
    if (used.length > 0) relay.sendUsed(used);
  });
}

/** The last steps: what is on its way to disk, orphans, the log's last lines. */
async function end(
  kernel: Kernel,
  last: {
    file: SnapshotFile;
    telemetry: { stop(deadline: ReturnType<Kernel['deadline']>): Promise<void> };
    mark: string;
  },
  code: number,
): Promise<never> {
  const deadline = kernel.deadline(SWEEP_MS);
  const pids = await sweepMarked(last.mark, deadline).catch(() => []);
  if (pids.length > 0) kernel.bus.publish({ type: 'children-swept', pids });
  await last.file.flush(deadline).catch(() => {});
  await last.telemetry.stop(deadline).catch(() => {});
  process.exit(code);
}

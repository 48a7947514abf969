/**
 * The limits of a worker from its start on: those that the supervisor sends, which come from the configuration; before
 * a configuration is known, those of the snapshot on disk and of the environment.
 */
import { readFile } from 'node:fs/promises';
import { CurrentLimits } from '../config/current-limits.ts';
import { connectionsWithin } from '../config/descriptors.ts';
import { limitsFrom, withPresentNames } from '../config/limits.ts';
import type { Snapshot } from '../model/snapshot.ts';
import type { SupervisorMessage } from '../model/supervisor-messages.ts';
import type { Deadline } from '../runtime/deadline.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { envLimits } from './env-limits.ts';
import { followLimits, reportAwaitingRestart } from './follow-limits.ts';

/** Open descriptors of a worker with a few servers, besides connections (48, measured). */
const OWN_DESCRIPTORS = 56;

export interface WorkerStart {
  readonly runtime: Runtime;
  readonly env: NodeJS.ProcessEnv;
  /** Of an earlier run; undefined on the first one. */
  readonly fromDisk: Snapshot | undefined;
  /** Undefined when there is no supervisor. */
  readonly go: (SupervisorMessage & { readonly t: 'go' }) | undefined;
}

/** Returns limits that the containers of this process follow. `connections` are at most what its descriptors allow. */
export async function workerLimits(start: WorkerStart, deadline: Deadline): Promise<CurrentLimits> {
  const { runtime, env, fromDisk, go } = start;
  const descriptors = await descriptorText(runtime, deadline);
  const currentLimits = new CurrentLimits(
    limitsFrom({
      ...envLimits(env),
      ...withPresentNames(fromDisk?.limits),
      ...withPresentNames(go?.limits),
    }),
    {
      // A supervisor of an older version sends none.
      isProvisional: go?.limits === undefined,
      adjust: (wanted) => ({
        ...wanted,
        port: go?.port ?? wanted.port,
        connections: connectionsWithin(wanted.connections, descriptors, OWN_DESCRIPTORS),
      }),
    },
  );
  followLimits(runtime, currentLimits);
  reportAwaitingRestart(runtime, currentLimits);
  return currentLimits;
}

/** Returns an empty string on a system without /proc. */
async function descriptorText(runtime: Runtime, deadline: Deadline): Promise<string> {
  const read = readFile('/proc/self/limits', 'utf8').catch(() => '');
  return runtime.waits.for(read, { label: 'service-start', owner: 'descriptors', deadline });
}

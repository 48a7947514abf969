/**
 * Composes what a worker needs to call servers for a session: sessions, admission, keys, catalog and registry, in start
 * order. `worker-http.ts` adds what clients connect to.
 */
import { join } from 'node:path';
import { Admission } from '../admission/gate.ts';
import { KeyAuthenticator } from '../auth/key-authenticator.ts';
import { everybodyOf } from '../call/updates.ts';
import { Catalog } from '../catalog/catalog.ts';
import { socketName } from '../model/supervisor-messages.ts';
import { createKeyRing, type KeyRing } from '../seal/key-ring.ts';
import { SessionPreferences } from '../session/preferences.ts';
import { Sessions } from '../session/sessions.ts';
import { createFailureLog, type FailureLog } from '../telemetry/failure-log.ts';
import { createServerRegistry, type ServerRegistry } from '../upstream/registry.ts';
import { SessionHolders } from '../upstream/single-session/session-holders.ts';
import { AccessWatch } from './access-watch.ts';
import { OwnLists } from './own-lists.ts';
import { watchPressure } from './pressure-watch.ts';
import type { WorkerPartsOptions } from './worker-options.ts';

export interface WorkerCore {
  readonly seals: KeyRing;
  readonly sessions: Sessions;
  readonly pressure: ReturnType<typeof watchPressure>;
  readonly admission: Admission;
  readonly failures: FailureLog;
  readonly keys: KeyAuthenticator;
  readonly catalog: Catalog;
  readonly preferences: SessionPreferences;
  /** Sockets of the other workers. */
  readonly others: () => readonly string[];
  readonly holders: SessionHolders;
  /** Lists of this worker that are newer than control's. */
  readonly own: OwnLists;
  readonly registry: ServerRegistry;
  readonly access: AccessWatch;
}

export function createWorkerCore(options: WorkerPartsOptions): WorkerCore {
  const { runtime, slot, snapshots, predecessor } = options;
  const { limits } = options.currentLimits;
  const seals = createKeyRing(options.secrets);
  const sessions = new Sessions({ runtime, limits, keyRing: seals });
  const pressure = watchPressure(runtime, options.gauges);
  const admission = new Admission({ runtime, limits, pressure });
  const failures = createFailureLog(runtime, () => limits.servers);
  const keys = new KeyAuthenticator({ runtime, limits, snapshots });
  const catalog = new Catalog({ runtime, limits });
  const preferences = new SessionPreferences({ runtime, limits });
  const own = new OwnLists(snapshots);
  const peerSocket = (peer: number) => join(options.runDir, socketName('hub', peer));
  const others = otherWorkers(options, peerSocket);
  const holders = new SessionHolders({ runtime, others, predecessor });
  const registry = createServerRegistry({
    runtime,
    limits,
    version: options.version,
    slot,
    peerSocket,
    handover: options.handover,
    holders,
    spokenBefore: (slug) => own.listing(slug)?.spoken,
    openingBefore: (slug) => own.listing(slug)?.opening,
    makeTransport: options.makeTransport,
    everybody: everybodyOf({ runtime, limits, sessions, preferences, snapshots }),
  });
  sessions.onEnd((id) => {
    // bounded by: one session's subscriptions
    const servers = new Set(preferences.subscriptions(id).map(({ server }) => server));
    preferences.remove(id);
    registry.sessionEnded(id);
    for (const server of servers) registry.preferencesChanged(server);
  });
  const access = new AccessWatch({
    runtime,
    snapshots,
    ownerLost: (owner) => sessions.endOwned(owner, preferences.ownedBy(owner.family)),
  });
  return {
    seals,
    sessions,
    pressure,
    admission,
    failures,
    keys,
    catalog,
    preferences,
    others,
    holders,
    own,
    registry,
    access,
  };
}

function otherWorkers(
  { currentLimits, slot, predecessor }: WorkerPartsOptions,
  peerSocket: (peer: number) => string,
): () => readonly string[] {
  return () => {
    const slots = Array.from({ length: currentLimits.limits.workers }, (_, at) => at + 1);
    const sockets = slots.filter((other) => other !== slot).map(peerSocket);
    return predecessor === undefined ? sockets : [predecessor, ...sockets];
  };
}

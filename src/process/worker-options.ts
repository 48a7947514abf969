/** What a worker is created from. */
import type { CurrentLimits } from '../config/current-limits.ts';
import type { Listing, Snapshot, SnapshotHolder } from '../model/snapshot.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { Gauges } from '../telemetry/loop-gauge.ts';
import type { WorkerHandover } from '../upstream/worker-handover.ts';
import type { TransportMaker } from './transport-factory.ts';

export interface WorkerPartsOptions {
  readonly runtime: Runtime;
  readonly currentLimits: CurrentLimits;
  readonly slot: number;
  readonly version: string;
  readonly runDir: string;
  readonly snapshots: SnapshotHolder;
  readonly secrets: readonly Buffer[];
  readonly makeTransport: TransportMaker;
  /** Handover with the worker that this one replaces, and with its own replacement. */
  readonly handover: WorkerHandover;
  /** Socket of the worker that this one replaces; undefined when there is none. */
  readonly predecessor: string | undefined;
  readonly gauges: () => Gauges;
  readonly counts: () => Readonly<Record<string, number>>;
  readonly controlConnected: () => boolean;
  readonly keysAgeMs: () => number | undefined;
  /** Token for the control process's socket; undefined while there is none. */
  readonly workerToken: () => string | undefined;
  /** Passes a new listing of a server to control. */
  readonly listed: (listing: Listing) => void;
  /** The catalog was built from this snapshot, which contains this worker's newest lists; saves it to the file. */
  readonly built: (snapshot: Snapshot) => void;
  readonly lastFacts: () => string;
}

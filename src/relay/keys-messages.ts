/**
 * What control and workers say to each other over `keys.sock`: one JSON object a line. Keys have a connection of their own, so that no snapshot
 * that is on its way, however large, delays a revocation.
 */
import type { KeyRecord } from '../kernel/snapshot.ts';

/** All valid keys. `keysRevision` rises with each change. */
export interface KeysFrame {
  readonly keysRevision: number;
  readonly keys: readonly KeyRecord[];
}

/** Revisions that a worker has applied: nothing is open any more that they do not allow. */
export interface Applied {
  readonly keysRevision: number;
  /** Of the snapshot. */
  readonly revision: number;
}

export type KeysWord =
  | ({ readonly t: 'keys' } & KeysFrame)
  /** Once a second: the newest keys are still those that were sent. */
  | { readonly t: 'alive' };

export type WorkerWord =
  | ({ readonly t: 'hello'; readonly slot: number; readonly pid: number } & Applied)
  | ({ readonly t: 'applied' } & Applied);

/**
 * Messages between control and workers on `keys.sock`, one JSON object per line. Keys have their own connection, so
 * that no snapshot in transit delays a revocation. Member names are a wire format between versions: they stay.
 */
import type { KeyRecord } from '../model/snapshot.ts';

/** All valid keys. `keysRevision` rises with each change. */
export interface KeysFrame {
  readonly keysRevision: number;
  readonly keys: readonly KeyRecord[];
}

/** Revisions that a worker has applied: connections that they do not allow are closed. */
export interface AppliedRevisions {
  readonly keysRevision: number;
  /** Revision of the snapshot. */
  readonly revision: number;
}

export type KeysMessage =
  | ({ readonly t: 'keys' } & KeysFrame)
  /** Sent once a second: the keys sent last are still the newest. */
  | { readonly t: 'alive' };

export type KeysWorkerMessage =
  | ({ readonly t: 'hello'; readonly slot: number; readonly pid: number } & AppliedRevisions)
  | ({ readonly t: 'applied' } & AppliedRevisions);

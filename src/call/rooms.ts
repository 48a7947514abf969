/**
 * The rooms that a call passes through, as the files of this room are handed them.
 * Does not: make them (`process/` does).
 */
import type { Admission } from '../admission/gate.ts';
import type { KeyDoor } from '../auth/keys.ts';
import type { Catalog } from '../catalog/catalog.ts';
import type { Limits } from '../config/limits.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { SnapshotHolder } from '../kernel/snapshot.ts';
import type { KeyRing } from '../seal/key-ring.ts';
import type { SessionPreferences } from '../session/preferences.ts';
import type { Sessions } from '../session/sessions.ts';
import type { Fleet } from '../upstream/fleet.ts';
import type { LateNames } from './late-names.ts';
import type { Questions } from './questions.ts';

export interface LineRooms {
  readonly kernel: Kernel;
  readonly limits: Limits;
  readonly snapshots: SnapshotHolder;
  readonly keys: KeyDoor;
  readonly sessions: Sessions;
  readonly admission: Admission;
  readonly catalog: Catalog;
  readonly fleet: Fleet;
  readonly questions: Questions;
  /** What other workers know; absent = there are none. */
  readonly lateNames?: Pick<LateNames, 'find'> | undefined;
  readonly preferences: SessionPreferences;
  readonly seals: KeyRing;
  /** Slot of this hub. */
  readonly slot: number;
  readonly version: string;
  /** Start of every request id: unique per process start. */
  readonly requestIdPrefix: string;
}

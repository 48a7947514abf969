/**
 * The rooms that a call passes through, as the files of this room are handed them.
 * Does not: make them (`process/` does).
 */
import type { Admission } from '../admission/gate.ts';
import type { KeyAuthenticator } from '../auth/key-authenticator.ts';
import type { Catalog } from '../catalog/catalog.ts';
import type { Limits } from '../config/limits.ts';
import type { SnapshotHolder } from '../model/snapshot.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { KeyRing } from '../seal/key-ring.ts';
import type { SessionPreferences } from '../session/preferences.ts';
import type { Sessions } from '../session/sessions.ts';
import type { ServerRegistry } from '../upstream/registry.ts';
import type { LateNames } from './late-names.ts';
import type { Questions } from './questions.ts';

export interface PipelineParts {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly snapshots: SnapshotHolder;
  readonly keys: KeyAuthenticator;
  readonly sessions: Sessions;
  readonly admission: Admission;
  readonly catalog: Catalog;
  readonly registry: ServerRegistry;
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

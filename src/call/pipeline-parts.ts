/**
 * The modules that a call passes through, as passed to the files of this module. `process/` creates them.
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
  /** Names that other workers know; absent when there are none. */
  readonly lateNames?: Pick<LateNames, 'find'> | undefined;
  readonly preferences: SessionPreferences;
  readonly seals: KeyRing;
  /** Id of this worker. */
  readonly slot: number;
  readonly version: string;
  /** Prefix of every request id; unique for each start of a process. */
  readonly requestIdPrefix: string;
}

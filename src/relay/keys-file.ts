/**
 * Writes the keys to disk (`keys.json`, 0600), for a worker that starts while control is unavailable. Control writes it
 * at each change.
 * Guarantees: `write` never waits; the newest keys are written; the file is always complete, the new one or the
 * previous one.
 */
import { join } from 'node:path';
import { writeAtomically } from '../config/write-atomically.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { KeysFrame } from './keys-messages.ts';

export const KEYS_FILE = 'keys.json';
const WRITE_TIMEOUT_MS = 5000;

export interface KeysFile {
  write(frame: KeysFrame): void;
}

/** `dir` must exist. */
export function createKeysFile({ runtime, dir }: { readonly runtime: Runtime; readonly dir: string }): KeysFile {
  let waiting: KeysFrame | undefined;
  let isWriting = false;

  async function work(): Promise<void> {
    while (waiting) {
      const { keysRevision, keys } = waiting;
      waiting = undefined;
      using deadline = runtime.deadline(WRITE_TIMEOUT_MS);
      try {
        // The revision comes first, so that reading the beginning of the file is enough to compare files.
        const text = JSON.stringify({ format: 1, revision: keysRevision, keysRevision, keys });
        await writeAtomically(join(dir, KEYS_FILE), text, { waits: runtime.waits, deadline });
      } catch (fault) {
        runtime.bus.publish({ type: 'task-faulted', task: 'keys file', fault });
      }
    }
    isWriting = false;
  }

  return {
    write(frame) {
      waiting = frame;
      if (isWriting) return;
      isWriting = true;
      runtime.scope.run('keys file', work);
    },
  };
}

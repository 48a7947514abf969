/**
 * The keys on disk (`keys.json`, 0600), so that a worker that starts without control knows which keys are valid. Control writes it at each change.
 * Guarantees: `write` never waits, the newest counts; a file is whole or the one before it.
 */
import { join } from 'node:path';
import { writeAtomically } from '../config/write-atomically.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { KeysFrame } from './keys-messages.ts';

export const KEYS_FILE = 'keys.json';
const WRITE_MS = 5000;

export interface KeysFile {
  write(frame: KeysFrame): void;
}

/** `dir` must exist. */
export function createKeysFile({ kernel, dir }: { readonly kernel: Kernel; readonly dir: string }): KeysFile {
  let waiting: KeysFrame | undefined;
  let isWriting = false;

  async function work(): Promise<void> {
    while (waiting) {
      const { keysRevision, keys } = waiting;
      waiting = undefined;
      using deadline = kernel.deadline(WRITE_MS);
      try {
        // The revision comes first: whoever reads only the beginning knows how new it is.
        const text = JSON.stringify({ format: 1, revision: keysRevision, keysRevision, keys });
        await writeAtomically(join(dir, KEYS_FILE), text, { waits: kernel.waits, deadline });
      } catch (fault) {
        kernel.bus.publish({ type: 'task-faulted', task: 'keys file', fault });
      }
    }
    isWriting = false;
  }

  return {
    write(frame) {
      waiting = frame;
      if (isWriting) return;
      isWriting = true;
      kernel.scope.run('keys file', work);
    },
  };
}

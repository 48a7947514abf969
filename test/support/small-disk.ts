/**
 * A file system of its own, small enough to be filled. Needs root.
 * Guarantees: disposing it unmounts it and removes its directory.
 */
import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export class SmallDisk implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), 'mcphub-disk-'));
  readonly #ballast = join(this.path, 'ballast');

  constructor() {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', this.path]);
  }

  /** Until not one byte more goes in. */
  fill(): void {
    const file = openSync(this.#ballast, 'a');
    try {
      for (let bytes = 65_536; bytes >= 1; ) {
        try {
          writeSync(file, Buffer.alloc(bytes));
        } catch {
          bytes = Math.floor(bytes / 2);
        }
      }
    } finally {
      closeSync(file);
    }
  }

  empty(): void {
    rmSync(this.#ballast, { force: true });
  }

  [Symbol.dispose](): void {
    execFileSync('umount', ['-l', this.path]);
    rmSync(this.path, { recursive: true, force: true });
  }
}

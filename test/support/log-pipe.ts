/**
 * A real pipe for a hub's stdout, as a shell or a container gives it. What the runtime gives a child as `pipe` is a
 * pair of sockets, and those are written to in another way.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export class LogPipe implements Disposable {
  /** Both ends are open in it, so that it is never broken, and full after 64 KiB that nobody takes. */
  readonly fd: number;
  readonly #directory = mkdtempSync(join(tmpdir(), 'mcphub-test-log-'));
  #reader: ChildProcess | undefined;

  constructor() {
    const path = join(this.#directory, 'log');
    execFileSync('mkfifo', [path]);
    this.fd = openSync(path, 'r+');
  }

  /** From now on somebody reads it, and may be stopped. */
  read(): ChildProcess {
    this.#reader = spawn('cat', { stdio: [this.fd, 'ignore', 'inherit'] });
    return this.#reader;
  }

  /** What it was opened with, and what anybody has made of it since. */
  flags(): string | undefined {
    return /^flags:\s+(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${this.fd}`, 'utf8'))?.[1];
  }

  [Symbol.dispose](): void {
    this.#reader?.kill('SIGKILL');
    closeSync(this.fd);
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

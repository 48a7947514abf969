/**
 * What systemd is told of the guard: ready, alive, stopping (`Type=notify`, `WatchdogSec=`).
 * Promises: nothing where nobody asks ($NOTIFY_SOCKET); never waits: one `systemd-notify` at a time, ended after 2 s; where that program is
 * missing it says so once. The watchdog is fed by the guard's own turns: it is for a guard that hangs; hubs are the guard's business.
 * Does not: open the socket itself (Node has no unix datagrams); so the unit needs `NotifyAccess=all`.
 */
import { spawn } from 'node:child_process';

const LIMIT_MS = 2000;

export class Notify {
  readonly #isAsked: boolean;
  /** Half of what systemd allows, ms; undefined = no watchdog. */
  readonly #everyMs: number | undefined;
  readonly #failed: (why: string) => void;
  #fedMs = Number.NEGATIVE_INFINITY;
  #isBusy = false;
  #hasFailed = false;

  constructor(env: Readonly<Record<string, string | undefined>>, failed: (why: string) => void) {
    this.#isAsked = Boolean(env.NOTIFY_SOCKET);
    const everyMs = Number(env.WATCHDOG_USEC) / 2000;
    this.#everyMs = everyMs > 0 ? everyMs : undefined;
    this.#failed = failed;
  }

  ready(status: string): void {
    this.#tell(['--ready', `--status=${status}`]);
  }

  stopping(): void {
    this.#tell(['STOPPING=1']);
  }

  /** Once a look; says something only when it is time. */
  feed(nowMs: number): void {
    // A look a second; half a second early is better than late.
    if (this.#everyMs === undefined || this.#isBusy || nowMs - this.#fedMs < this.#everyMs - 500) return;
    this.#fedMs = nowMs;
    this.#tell(['WATCHDOG=1']);
  }

  #tell(words: readonly string[]): void {
    if (!this.#isAsked || this.#hasFailed) return;
    this.#isBusy = true;
    const child = spawn('systemd-notify', words, { stdio: 'ignore', timeout: LIMIT_MS, killSignal: 'SIGKILL' });
    child.on('error', (fault) => this.#fail(fault.message));
    child.on('exit', () => {
      this.#isBusy = false;
    });
  }

  #fail(why: string): void {
    this.#isBusy = false;
    if (this.#hasFailed) return;
    this.#hasFailed = true;
    this.#failed(why);
  }
}

/**
 * Notifies systemd: ready, alive, stopping (`Type=notify`, `WatchdogSec=`). Does nothing without $NOTIFY_SOCKET.
 * Never waits: one `systemd-notify` process at a time, killed after 2 s; a missing program is reported once. Node.js
 * has no Unix datagram sockets, hence the program; the unit needs `NotifyAccess=all`. The watchdog covers a supervisor
 * that hangs, not the workers.
 */
import { spawn } from 'node:child_process';

const TIMEOUT_MS = 2000;

export class SystemdNotifier {
  readonly #isEnabled: boolean;
  /** Half of the watchdog's interval, ms; undefined = no watchdog. */
  readonly #intervalMs: number | undefined;
  readonly #failed: (why: string) => void;
  #sentMs = Number.NEGATIVE_INFINITY;
  #isBusy = false;
  #hasFailed = false;

  constructor(env: Readonly<Record<string, string | undefined>>, failed: (why: string) => void) {
    this.#isEnabled = Boolean(env.NOTIFY_SOCKET);
    const intervalMs = Number(env.WATCHDOG_USEC) / 2000;
    this.#intervalMs = intervalMs > 0 ? intervalMs : undefined;
    this.#failed = failed;
  }

  ready(status: string): void {
    this.#send(['--ready', `--status=${status}`]);
  }

  stopping(): void {
    this.#send(['STOPPING=1']);
  }

  /** Called at each poll; pings the watchdog when it is due. */
  pingWatchdog(nowMs: number): void {
    // Polls are a second apart; half a second early is better than late.
    if (this.#intervalMs === undefined || this.#isBusy || nowMs - this.#sentMs < this.#intervalMs - 500) return;
    this.#sentMs = nowMs;
    this.#send(['WATCHDOG=1']);
  }

  #send(args: readonly string[]): void {
    if (!this.#isEnabled || this.#hasFailed) return;
    this.#isBusy = true;
    const child = spawn('systemd-notify', args, { stdio: 'ignore', timeout: TIMEOUT_MS, killSignal: 'SIGKILL' });
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

/**
 * Watches the configuration file and applies changes without a request. Does not parse the file: `reload.ts` refuses a
 * broken one.
 * Guarantees: polls every 2 s; file system events only make it faster; a burst of edits is applied once, endless edits
 * every 2 s; unchanged content is not applied again; a file that editors replace is not reported as missing; at most
 * one check, one read and one watcher at a time.
 */
import { dirname } from 'node:path';
import { directorySign, type FileLook, hintsOf, lookAtFile } from '../config/look-at-file.ts';
import type { Deadline } from '../runtime/deadline.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { Service } from '../runtime/service.ts';
import type { Reload } from './reload.ts';

export interface ConfigWatcherParts {
  readonly runtime: Runtime;
  readonly reload: Pick<Reload, 'reloadIfChanged'>;
  /** Returns the configuration file to read now; undefined = there is none. */
  readonly find: (deadline: Deadline) => Promise<string | undefined>;
  /** Read before each check. False = the watcher does nothing. */
  readonly isOn: () => boolean;
}

const POLL_INTERVAL_MS = 2000;
/** A file that has not changed for this long is complete. */
const DEBOUNCE_MS = 250;
/** Longest time that continuous edits delay a read. */
const MAX_DEBOUNCE_MS = 2000;
/** A file modified this recently may change again without a new timestamp. */
const RECENT_MS = 3000;
const READ_TIMEOUT_MS = 5000;

export function createConfigWatcher(parts: ConfigWatcherParts): Service {
  return new ConfigWatcher(parts);
}

/** State of the file when it was last read. */
interface LastRead {
  readonly sign: string;
  /** The file was modified so shortly before that a further change may not alter `sign`. */
  readonly wasRecent: boolean;
}

/** State when no file is configured; the same as a missing file. */
const NO_FILE: FileLook = { sign: 'none', isThere: false, changedAtMs: 0 };

class ConfigWatcher implements Service {
  readonly name = 'configuration watch';
  readonly #parts: ConfigWatcherParts;
  #polling: Disposable | undefined;
  #watcher: { readonly sign: string; readonly stop: Disposable } | undefined;
  /** The directory whose watcher failed, so that the failure is reported once. */
  #failedDirectory: string | undefined;
  #isBusy = false;
  #last: LastRead | undefined;
  /** `sign` of the last check that found the file missing. */
  #missing: string | undefined;
  #debounce: Disposable | undefined;
  /** Monotonic ms of the first edit that has not been read. */
  #editsSinceMs: number | undefined;
  #stopped = false;

  constructor(parts: ConfigWatcherParts) {
    this.#parts = parts;
  }

  async start(): Promise<void> {
    if (this.#polling || this.#stopped) return;
    this.#polling = this.#parts.runtime.timers.every(POLL_INTERVAL_MS, () => this.#poll());
    this.#poll();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#polling?.[Symbol.dispose]();
    this.#debounce?.[Symbol.dispose]();
    this.#closeWatcher();
  }

  #poll(): void {
    if (this.#parts.isOn()) {
      this.#runExclusive((deadline) => this.#check(deadline));
      return;
    }
    this.#closeWatcher();
    this.#last = undefined;
  }

  /**
   * Runs `work` unless other work is in progress, so that a hanging file system does not pile up checks. Returns false
   * when it did not start.
   */
  #runExclusive(work: (deadline: Deadline) => Promise<void>): boolean {
    if (this.#isBusy || this.#stopped) return false;
    this.#isBusy = true;
    const { runtime } = this.#parts;
    runtime.scope.run('check the configuration file', async () => {
      using deadline = runtime.deadline(READ_TIMEOUT_MS);
      const working = work(deadline).finally(() => {
        this.#isBusy = false;
      });
      await runtime.waits.for(working, { label: 'config-read', owner: 'configuration watch', deadline });
    });
    return true;
  }

  async #check(deadline: Deadline): Promise<void> {
    const { file, look } = await this.#inspect(deadline);
    if (this.#stopped) return;
    await this.#watchDirectory(file);
    // Editors remove the file for a moment when they save: report it missing only after two checks.
    const isFirstMiss = !look.isThere && this.#missing !== look.sign;
    this.#missing = look.isThere ? undefined : look.sign;
    if (isFirstMiss) return;
    if (this.#last === undefined || this.#last.wasRecent || this.#last.sign !== look.sign) this.#scheduleRead();
  }

  async #inspect(deadline: Deadline): Promise<{ readonly file: string | undefined; readonly look: FileLook }> {
    const file = await this.#parts.find(deadline);
    return { file, look: file === undefined ? NO_FILE : await lookAtFile(file) };
  }

  /** Schedules a read after the debounce time. */
  #scheduleRead(): void {
    if (this.#stopped || !this.#parts.isOn()) return;
    const { clock, timers } = this.#parts.runtime;
    const nowMs = clock.nowMs();
    this.#editsSinceMs ??= nowMs;
    this.#debounce?.[Symbol.dispose]();
    const waitMs = Math.min(DEBOUNCE_MS, Math.max(0, this.#editsSinceMs + MAX_DEBOUNCE_MS - nowMs));
    this.#debounce = timers.after(waitMs, () => this.#readNow());
  }

  #readNow(): void {
    this.#debounce = undefined;
    if (this.#runExclusive((deadline) => this.#read(deadline))) this.#editsSinceMs = undefined;
    else this.#scheduleRead();
  }

  async #read(deadline: Deadline): Promise<void> {
    // Inspect before reading: the next check finds changes made in between.
    const { look } = await this.#inspect(deadline);
    if (this.#stopped || !this.#parts.isOn()) return;
    if (!look.isThere && this.#missing !== look.sign) return;
    const ageMs = this.#parts.runtime.clock.wallMs() - look.changedAtMs;
    this.#last = { sign: look.sign, wasRecent: look.isThere && Math.abs(ageMs) < RECENT_MS };
    try {
      await this.#parts.reload.reloadIfChanged(deadline);
    } catch (fault) {
      // A broken file is a refusal, not an exception: the next check tries again.
      this.#last = undefined;
      throw fault;
    }
  }

  /** Watches the directory that contains the file; closes the previous watcher. */
  async #watchDirectory(file: string | undefined): Promise<void> {
    const dir = file === undefined ? '' : dirname(file);
    const sign = file === undefined ? undefined : await directorySign(dir);
    if (sign !== undefined && sign === this.#watcher?.sign) return;
    this.#closeWatcher();
    if (file === undefined || sign === undefined || this.#stopped) return;
    let hasFailed = false;
    const ended = (reason: string): void => {
      hasFailed = true;
      if (this.#watcher?.sign === sign) this.#watcher = undefined;
      if (this.#failedDirectory === sign) return;
      this.#failedDirectory = sign;
      this.#parts.runtime.bus.publish({ type: 'config-hints-ended', dir, reason });
    };
    const stop = hintsOf(dir, file, () => this.#scheduleRead(), ended);
    if (!hasFailed) this.#watcher = { sign, stop };
  }

  #closeWatcher(): void {
    this.#watcher?.stop[Symbol.dispose]();
    this.#watcher = undefined;
  }
}

/**
 * Looks after the configuration file: what is written into it is applied without anybody asking.
 * Promises: the file is looked at every two seconds, whatever the file system tells; a hint of the system only makes it sooner; a burst of edits
 * is one change once it rests, and endless edits are applied every two seconds; content that has not changed changes nothing; a file that is
 * gone for a moment (editors replace it) is not missed; at most one look, one reading and one watcher at a time; switched off it does nothing.
 * Does not: read or judge the file (`reload.ts`): a broken one is refused there, and the last good one stays.
 */
import { dirname } from 'node:path';
import { directorySign, type FileLook, hintsOf, lookAtFile } from '../config/look-at-file.ts';
import type { Deadline } from '../kernel/deadline.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { Service } from '../kernel/service.ts';
import type { Reload } from './reload.ts';

export interface ConfigWatchParts {
  readonly kernel: Kernel;
  readonly reload: Pick<Reload, 'ifChanged'>;
  /** Which file there is to read now; undefined = none. */
  readonly find: (deadline: Deadline) => Promise<string | undefined>;
  /** Asked before each look. */
  readonly isOn: () => boolean;
}

const LOOK_EVERY_MS = 2000;
/** A file that has rested this long is complete. */
const REST_MS = 250;
/** However long the edits go on, this is how long they wait. */
const LONGEST_REST_MS = 2000;
/** A file this young may have changed again within the clock tick of its last change. */
const YOUNG_MS = 3000;
const READ_MS = 5000;

export function createConfigWatch(parts: ConfigWatchParts): Service {
  return new ConfigWatch(parts);
}

/** How the file stood when it was last read. */
interface LastRead {
  readonly sign: string;
  /** It had changed so shortly before that another change may not show in its sign. */
  readonly wasYoung: boolean;
}

/** What to look at when no file is found: not there, as a file that is gone. */
const NO_FILE: FileLook = { sign: 'none', isThere: false, changedAtMs: 0 };

class ConfigWatch implements Service {
  readonly name = 'configuration watch';
  readonly #parts: ConfigWatchParts;
  #looks: Disposable | undefined;
  #hints: { readonly sign: string; readonly stop: Disposable } | undefined;
  /** The directory whose hints ended, so that it is told once. */
  #deaf: string | undefined;
  #isBusy = false;
  #last: LastRead | undefined;
  /** The sign with which the file was missing when it was last looked at. */
  #missing: string | undefined;
  #rest: Disposable | undefined;
  /** Since when edits have been coming. */
  #restlessMs: number | undefined;
  #stopped = false;

  constructor(parts: ConfigWatchParts) {
    this.#parts = parts;
  }

  async start(): Promise<void> {
    if (this.#looks || this.#stopped) return;
    this.#looks = this.#parts.kernel.timers.every(LOOK_EVERY_MS, () => this.#tick());
    this.#tick();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#looks?.[Symbol.dispose]();
    this.#rest?.[Symbol.dispose]();
    this.#endHints();
  }

  #tick(): void {
    if (this.#parts.isOn()) {
      this.#begin((deadline) => this.#look(deadline));
      return;
    }
    this.#endHints();
    this.#last = undefined;
  }

  /** One at a time, until it has really ended: on a file system that hangs looks must not pile up. False = another one is under way. */
  #begin(work: (deadline: Deadline) => Promise<void>): boolean {
    if (this.#isBusy || this.#stopped) return false;
    this.#isBusy = true;
    const { kernel } = this.#parts;
    kernel.scope.run('look at the configuration', async () => {
      using deadline = kernel.deadline(READ_MS);
      const working = work(deadline).finally(() => {
        this.#isBusy = false;
      });
      await kernel.waits.for(working, { label: 'config-read', owner: 'configuration watch', deadline });
    });
    return true;
  }

  async #look(deadline: Deadline): Promise<void> {
    const { file, look } = await this.#find(deadline);
    if (this.#stopped) return;
    await this.#listen(file);
    // Gone for a moment is how editors write: a file must be missing twice.
    const isFirstMiss = !look.isThere && this.#missing !== look.sign;
    this.#missing = look.isThere ? undefined : look.sign;
    if (isFirstMiss) return;
    if (this.#last === undefined || this.#last.wasYoung || this.#last.sign !== look.sign) this.#changed();
  }

  async #find(deadline: Deadline): Promise<{ readonly file: string | undefined; readonly look: FileLook }> {
    const file = await this.#parts.find(deadline);
    return { file, look: file === undefined ? NO_FILE : await lookAtFile(file) };
  }

  /** Something may have changed: it is read when it has rested. */
  #changed(): void {
    if (this.#stopped || !this.#parts.isOn()) return;
    const { clock, timers } = this.#parts.kernel;
    const nowMs = clock.nowMs();
    this.#restlessMs ??= nowMs;
    this.#rest?.[Symbol.dispose]();
    const waitMs = Math.min(REST_MS, Math.max(0, this.#restlessMs + LONGEST_REST_MS - nowMs));
    this.#rest = timers.after(waitMs, () => this.#rested());
  }

  #rested(): void {
    this.#rest = undefined;
    if (this.#begin((deadline) => this.#read(deadline))) this.#restlessMs = undefined;
    else this.#changed();
  }

  async #read(deadline: Deadline): Promise<void> {
    // Looked at before it is read: what happens in between shows at the next look.
    const { look } = await this.#find(deadline);
    if (this.#stopped || !this.#parts.isOn()) return;
    if (!look.isThere && this.#missing !== look.sign) return;
    const ageMs = this.#parts.kernel.clock.wallMs() - look.changedAtMs;
    this.#last = { sign: look.sign, wasYoung: look.isThere && Math.abs(ageMs) < YOUNG_MS };
    try {
      await this.#parts.reload.ifChanged(deadline);
    } catch (fault) {
      // Not the file's fault (that would be a refusal): the next look tries again.
      this.#last = undefined;
      throw fault;
    }
  }

  /** One watcher on the directory in which the file stands now. */
  async #listen(file: string | undefined): Promise<void> {
    const dir = file === undefined ? '' : dirname(file);
    const sign = file === undefined ? undefined : await directorySign(dir);
    if (sign !== undefined && sign === this.#hints?.sign) return;
    this.#endHints();
    if (file === undefined || sign === undefined || this.#stopped) return;
    let isDeaf = false;
    const ended = (reason: string): void => {
      isDeaf = true;
      if (this.#hints?.sign === sign) this.#hints = undefined;
      if (this.#deaf === sign) return;
      this.#deaf = sign;
      this.#parts.kernel.bus.publish({ type: 'config-hints-ended', dir, reason });
    };
    const stop = hintsOf(dir, file, () => this.#changed(), ended);
    if (!isDeaf) this.#hints = { sign, stop };
  }

  #endHints(): void {
    this.#hints?.stop[Symbol.dispose]();
    this.#hints = undefined;
  }
}

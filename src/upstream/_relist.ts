/**
 * When a changed list is read again: once for many notices, soon where lists do change, and every two seconds at most where they turn out to be
 * the same, so that a server that announces a change with every list cannot make a loop of it.
 * Source: protocol.md §1.4, §6.18 (a change is told within a second); reliability.md A17.
 */
import type { Kernel } from '../kernel/kernel.ts';
import type { Scope } from '../kernel/scope.ts';

/** Notices within this time are one, ms. */
const TOGETHER_MS = 250;
/** From the start of one list to the next, ms: after one that had changed, and after one that was the same as before. */
const APART_MS = { changed: 500, same: 2000 } as const;

export class Relist implements Disposable {
  readonly #kernel: Kernel;
  readonly #scope: Scope;
  readonly #list: () => Promise<boolean>;
  #timer: Disposable | undefined;
  #last: keyof typeof APART_MS = 'changed';
  #startedMs: number;
  #running = false;
  #again = false;
  #over = false;

  /** `list` says whether anything had changed, and may reject: the last good list stays. The first list has just been read. */
  constructor(kernel: Kernel, scope: Scope, list: () => Promise<boolean>) {
    this.#kernel = kernel;
    this.#scope = scope;
    this.#list = list;
    this.#startedMs = kernel.clock.nowMs();
  }

  soon(): void {
    if (this.#over || this.#timer) return;
    if (this.#running) {
      this.#again = true;
      return;
    }
    const nowMs = this.#kernel.clock.nowMs();
    const restMs = Math.max(TOGETHER_MS, this.#startedMs + APART_MS[this.#last] - nowMs);
    this.#timer = this.#kernel.timers.after(restMs, () => {
      this.#timer = undefined;
      this.#scope.run('relist', () => this.#run());
    });
  }

  [Symbol.dispose](): void {
    this.#over = true;
    this.#timer?.[Symbol.dispose]();
  }

  async #run(): Promise<void> {
    this.#running = true;
    this.#startedMs = this.#kernel.clock.nowMs();
    this.#last = 'same';
    try {
      if (await this.#list()) this.#last = 'changed';
    } catch {
      // The last good list stays; the pulse decides about the server.
    }
    this.#running = false;
    if (!this.#again) return;
    this.#again = false;
    this.soon();
  }
}

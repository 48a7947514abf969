/**
 * What a stateless server says outside of calls: one open request of ours, on which it tells that its lists have changed.
 * Promises: asks only for what the server declares; a request that ends is made again after a rest with chance in it, and then the lists are
 * read again, for something may have been missed; a server that does not know the method is left alone; ends with its connection.
 * Source: specification 2026-07-28, subscriptions; protocol.md §1.4.
 */
import { backoffMs } from '../kernel/backoff.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { isRefusal } from '../kernel/outcome.ts';
import type { Scope } from '../kernel/scope.ts';
import { SILENT_BACK_CHANNEL } from '../protocol/back-channel.ts';
import type { ServerHello } from '../protocol/era-2025/initialize.ts';
import type { Correlator } from './correlate.ts';

/** One request is open for so long at most; servers and proxies end it sooner. */
const OPEN_MS = 12 * 60 * 60 * 1000;
const REST = { baseMs: 1000, capMs: 30_000 } as const;
/** One that was open for so long was a good one: the rests begin anew. */
const STEADY_MS = 60_000;

export interface ListenParts {
  readonly kernel: Kernel;
  readonly scope: Scope;
  readonly server: string;
  readonly correlator: Correlator;
  readonly capabilities: ServerHello['capabilities'];
  readonly listChanged: () => void;
}

export class Listen implements Disposable {
  readonly #parts: ListenParts;
  #rest: Disposable | undefined;
  #over = false;
  #failures = 0;

  constructor(parts: ListenParts) {
    this.#parts = parts;
    const wanted = wantedOf(parts.capabilities);
    if (wanted !== undefined) parts.scope.run('listen', () => this.#listen(wanted));
  }

  [Symbol.dispose](): void {
    this.#over = true;
    this.#rest?.[Symbol.dispose]();
  }

  async #listen(wanted: Buffer): Promise<void> {
    const { kernel, server, correlator } = this.#parts;
    const startMs = kernel.clock.nowMs();
    using deadline = kernel.deadline(OPEN_MS);
    const answer = await correlator.ask(
      {
        ...{ method: 'subscriptions/listen', label: 'upstream-listen', owner: server, deadline, setting: 'listMs' },
        ...{ back: SILENT_BACK_CHANNEL, silence: undefined },
      },
      () => wanted,
    );
    if (this.#over || (!isRefusal(answer) && answer.kind === 'error')) return;
    this.#failures = kernel.clock.nowMs() - startMs >= STEADY_MS ? 1 : this.#failures + 1;
    this.#rest = kernel.timers.after(backoffMs(this.#failures, REST, kernel.random), () => {
      if (this.#over) return;
      this.#parts.listChanged();
      this.#parts.scope.run('listen', () => this.#listen(wanted));
    });
  }
}

/** Undefined = it declares nothing that changes. */
function wantedOf(capabilities: ServerHello['capabilities']): Buffer | undefined {
  const changes = (name: string): boolean => {
    const capability = capabilities[name];
    return (
      typeof capability === 'object' &&
      capability !== null &&
      'listChanged' in capability &&
      capability.listChanged === true
    );
  };
  const notifications = {
    ...(changes('tools') ? { toolsListChanged: true } : {}),
    ...(changes('prompts') ? { promptsListChanged: true } : {}),
    ...(changes('resources') ? { resourcesListChanged: true } : {}),
  };
  return Object.keys(notifications).length === 0 ? undefined : Buffer.from(JSON.stringify({ notifications }));
}

/**
 * Runs all installs of a hub.
 * Guarantees: equal keys share one install (npm's cache breaks when two fill it at once); at most `limits.starting`
 * run, others queue in order; one that takes longer than `SLOW_MS` lets the next one start; each has its own time
 * limit, and continues when the start that waited gives up; a failure is not remembered.
 */
import type { Limits } from '../../config/limits.ts';
import { HubError } from '../../model/errors.ts';
import { CappedMap } from '../../runtime/capped.ts';
import { CappedQueue } from '../../runtime/capped-queue.ts';
import type { Deadline } from '../../runtime/deadline.ts';
import type { Runtime } from '../../runtime/runtime.ts';

/** An install that takes longer is probably waiting and not using the CPU, ms. */
const SLOW_MS = 20_000;
/** Including slow ones, this many times `limits.starting` run at once: each is a process of 100 MB. */
const WITH_SLOW = 4;

export interface InstallRequest {
  readonly key: string;
  /** For people: the server that requested it first. */
  readonly owner: string;
  readonly budgetMs: number;
  readonly install: (deadline: Deadline) => Promise<void>;
}

export interface InstallLockParts {
  readonly runtime: Runtime;
  readonly limits: Limits;
}

export class InstallLock {
  readonly #parts: InstallLockParts;
  readonly #verdicts: CappedMap<string, 'done' | 'doubted'>;
  readonly #pendingRequests: CappedMap<string, Promise<void>>;
  readonly #queue: CappedQueue<() => void>;
  /** Installs that block others, and all that run. */
  #quick = 0;
  #running = 0;

  constructor(parts: InstallLockParts) {
    const { runtime, limits } = parts;
    this.#parts = parts;
    const max = () => limits.servers;
    this.#verdicts = new CappedMap('upstream.installed', max, 'drop-oldest', runtime.ceilings);
    this.#pendingRequests = new CappedMap('upstream.installs', max, 'refuse', runtime.ceilings);
    this.#queue = new CappedQueue<() => void>('upstream.install-queue', max, 'refuse', runtime.ceilings);
  }

  /** Tells whether it was installed in this process and not doubted since. */
  isDone(key: string): boolean {
    return this.#verdicts.get(key) === 'done';
  }

  /** Tells whether a start right after it failed: then files on disk are no sufficient proof. */
  isDoubted(key: string): boolean {
    return this.#verdicts.get(key) === 'doubted';
  }

  /** Records that nothing needed to be installed. */
  markDone(key: string): void {
    void this.#verdicts.set(key, 'done');
  }

  /** Records that a start after this install failed before the server sent anything; the next one installs in full. */
  doubt(key: string): void {
    void this.#verdicts.set(key, 'doubted');
  }

  /**
   * Installs, or joins the install of the same key. Rejects with its fault, or `wait-expired` at the deadline while it
   * goes on.
   */
  async once(request: InstallRequest, deadline: Deadline): Promise<void> {
    const { runtime } = this.#parts;
    const pending = this.#pendingRequests.get(request.key) ?? this.#launch(request);
    await runtime.waits.for(pending, { label: 'upstream-install', owner: request.owner, deadline });
  }

  #admit(): void {
    const { limits } = this.#parts;
    while (this.#quick < limits.starting && this.#running < WITH_SLOW * limits.starting) {
      const next = this.#queue.shift();
      if (!next) return;
      this.#quick += 1;
      this.#running += 1;
      next();
    }
  }

  async #enter(request: InstallRequest, deadline: Deadline): Promise<void> {
    const { runtime } = this.#parts;
    const turn = new Promise<void>((resolve, reject) => {
      if (!this.#queue.push(resolve)) reject(new HubError('overloaded', { message: 'too many installs wait' }));
    });
    this.#admit();
    // A turn that comes after the deadline is passed to the next.
    await runtime.waits.for(turn, {
      label: 'upstream-install',
      owner: request.owner,
      deadline,
      late: () => this.#leave(1),
    });
  }

  /** `held` is 0 when it has already let the next one start. */
  #leave(held: 0 | 1): void {
    this.#quick -= held;
    this.#running -= 1;
    this.#admit();
  }

  /** Installs with a permit of its own. */
  async #install(request: InstallRequest, deadline: Deadline): Promise<void> {
    const { runtime } = this.#parts;
    let held: 0 | 1 = 1;
    using slow = runtime.deadline(SLOW_MS);
    slow.onEnd(() => {
      held = 0;
      this.#quick -= 1;
      this.#admit();
    });
    try {
      await request.install(deadline);
      this.#verdicts.set(request.key, 'done');
    } finally {
      this.#leave(held);
    }
  }

  async #run(request: InstallRequest, signal: AbortSignal): Promise<void> {
    const { runtime } = this.#parts;
    let current: Deadline | undefined;
    const end = () => current?.end('stopped');
    signal.addEventListener('abort', end, { once: true });
    const within = async (ms: number, step: (deadline: Deadline) => Promise<void>): Promise<void> => {
      using deadline = runtime.deadline(ms);
      current = deadline;
      if (signal.aborted) end();
      await step(deadline);
    };
    try {
      // All running ones may hang until their time limit.
      await within(2 * request.budgetMs, (deadline) => this.#enter(request, deadline));
      await within(request.budgetMs, (deadline) => this.#install(request, deadline));
    } finally {
      signal.removeEventListener('abort', end);
      this.#pendingRequests.delete(request.key);
    }
  }

  #launch(request: InstallRequest): Promise<void> {
    const { runtime } = this.#parts;
    if (runtime.scope.closed) return Promise.reject(new HubError('draining'));
    const pending = new Promise<void>((resolve, reject) => {
      runtime.scope.run(`install for ${request.owner}`, (signal) => this.#run(request, signal).then(resolve, reject));
    });
    pending.catch(() => {}); // all waiting callers may have left
    if (!this.#pendingRequests.set(request.key, pending))
      throw new HubError('overloaded', { message: 'too many installs at once' });
    return pending;
  }
}

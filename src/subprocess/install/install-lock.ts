/**
 * Runs all installs of a hub.
 * Guarantees: equal keys share one install (npm's cache breaks when two fill it at once); at most `limits.starting`
 * run, others queue in order; one that takes longer than `SLOW_MS` lets the next one start; each has its own time
 * limit, and continues when the start that waited gives up; a failure is not remembered.
 */
import type { Limits } from '../../config/limits.ts';
import { HubError } from '../../model/errors.ts';
import { CappedMap, CappedQueue } from '../../runtime/capped.ts';
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

export interface InstallLock {
  /** Tells whether it was installed in this process and not doubted since. */
  isDone(key: string): boolean;
  /** Tells whether a start right after it failed: then files on disk are no sufficient proof. */
  isDoubted(key: string): boolean;
  /** Records that nothing needed to be installed. */
  markDone(key: string): void;
  /** Records that a start after this install failed before the server sent anything; the next one installs in full. */
  doubt(key: string): void;
  /**
   * Installs, or joins the install of the same key. Rejects with its fault, or `wait-expired` at the deadline while it
   * goes on.
   */
  once(request: InstallRequest, deadline: Deadline): Promise<void>;
}

export function createInstallLock({ runtime, limits }: { runtime: Runtime; limits: Limits }): InstallLock {
  const max = () => limits.servers;
  const verdicts = new CappedMap<string, 'done' | 'doubted'>(
    'upstream.installed',
    max,
    'drop-oldest',
    runtime.ceilings,
  );
  const pendingRequests = new CappedMap<string, Promise<void>>('upstream.installs', max, 'refuse', runtime.ceilings);
  const queue = new CappedQueue<() => void>('upstream.install-queue', max, 'refuse', runtime.ceilings);
  /** Installs that block others, and all that run. */
  let quick = 0;
  let running = 0;

  function admit(): void {
    while (quick < limits.starting && running < WITH_SLOW * limits.starting) {
      const next = queue.shift();
      if (!next) return;
      quick += 1;
      running += 1;
      next();
    }
  }

  async function enter(request: InstallRequest, deadline: Deadline): Promise<void> {
    const turn = new Promise<void>((resolve, reject) => {
      if (!queue.push(resolve)) reject(new HubError('overloaded', { message: 'too many installs wait' }));
    });
    admit();
    // A turn that comes after the deadline is passed to the next.
    await runtime.waits.for(turn, { label: 'upstream-install', owner: request.owner, deadline, late: () => leave(1) });
  }

  /** `held` is 0 when it has already let the next one start. */
  function leave(held: 0 | 1): void {
    quick -= held;
    running -= 1;
    admit();
  }

  /** Installs with a permit of its own. */
  async function install(request: InstallRequest, deadline: Deadline): Promise<void> {
    let held: 0 | 1 = 1;
    using slow = runtime.deadline(SLOW_MS);
    slow.onEnd(() => {
      held = 0;
      quick -= 1;
      admit();
    });
    try {
      await request.install(deadline);
      verdicts.set(request.key, 'done');
    } finally {
      leave(held);
    }
  }

  async function run(request: InstallRequest, signal: AbortSignal): Promise<void> {
    let current: Deadline | undefined;
    const end = () => current?.end('stopped');
    signal.addEventListener('abort', end, { once: true });
    const within = async (ms: number, step: typeof enter): Promise<void> => {
      using deadline = runtime.deadline(ms);
      current = deadline;
      if (signal.aborted) end();
      await step(request, deadline);
    };
    try {
      // All running ones may hang until their time limit.
      await within(2 * request.budgetMs, enter);
      await within(request.budgetMs, install);
    } finally {
      signal.removeEventListener('abort', end);
      pendingRequests.delete(request.key);
    }
  }

  function launch(request: InstallRequest): Promise<void> {
    if (runtime.scope.closed) return Promise.reject(new HubError('draining'));
    const pending = new Promise<void>((resolve, reject) => {
      runtime.scope.run(`install for ${request.owner}`, (signal) => run(request, signal).then(resolve, reject));
    });
    pending.catch(() => {}); // all waiting callers may have left
    if (!pendingRequests.set(request.key, pending))
      throw new HubError('overloaded', { message: 'too many installs at once' });
    return pending;
  }

  return {
    isDone: (key) => verdicts.get(key) === 'done',
    isDoubted: (key) => verdicts.get(key) === 'doubted',
    markDone: (key) => void verdicts.set(key, 'done'),
    doubt: (key) => void verdicts.set(key, 'doubted'),
    async once(request, deadline) {
      const pending = pendingRequests.get(request.key) ?? launch(request);
      await runtime.waits.for(pending, { label: 'upstream-install', owner: request.owner, deadline });
    },
  };
}

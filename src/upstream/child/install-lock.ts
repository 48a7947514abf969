/**
 * One place for all installs of a hub: what several servers need is installed once, and few installs run at the same time.
 * Promises: equal keys share one install (npm's cache breaks when two fill it at once, reliability B15); at most `limits.starting` run, the
 * others queue in order of arrival; an install has its own budget and goes on when a start that waited for it gave up (B14); a failure is
 * told to all who waited and is not remembered.
 */
import type { Limits } from '../../config/limits.ts';
import { CappedMap, CappedQueue } from '../../kernel/capped.ts';
import type { Deadline } from '../../kernel/deadline.ts';
import { HubError } from '../../kernel/errors.ts';
import type { Kernel } from '../../kernel/kernel.ts';

export interface InstallRequest {
  readonly key: string;
  /** For people: the server that asks first. */
  readonly owner: string;
  readonly budgetMs: number;
  readonly install: (deadline: Deadline) => Promise<void>;
}

export interface InstallLock {
  /** True when it was installed in this process and nobody doubted it since. */
  isDone(key: string): boolean;
  /** True when a start right after it failed: then a look at the disk is not proof enough. */
  isDoubted(key: string): boolean;
  /** Remembers that nothing needed to be installed. */
  markDone(key: string): void;
  /** A start after this install failed before the server spoke; the next one installs in full. */
  doubt(key: string): void;
  /** Installs, or joins the install of the same key. Rejects with its fault, or `wait-expired` at the deadline while it goes on. */
  once(request: InstallRequest, deadline: Deadline): Promise<void>;
}

export function createInstallLock({ kernel, limits }: { kernel: Kernel; limits: Limits }): InstallLock {
  const verdicts = new CappedMap<string, 'done' | 'doubted'>(
    'upstream.installed',
    limits.servers,
    'drop-oldest',
    kernel.ceilings,
  );
  const flights = new CappedMap<string, Promise<void>>('upstream.installs', limits.servers, 'refuse', kernel.ceilings);
  const queue = new CappedQueue<() => void>('upstream.install-queue', limits.servers, 'refuse', kernel.ceilings);
  let inside = 0;

  async function enter(request: InstallRequest, deadline: Deadline): Promise<void> {
    if (inside < limits.starting) {
      inside += 1;
      return;
    }
    const turn = new Promise<void>((resolve, reject) => {
      if (!queue.push(resolve)) reject(new HubError('overloaded', { message: 'too many installs wait' }));
    });
    // A turn that comes after the deadline is handed to the next.
    await kernel.waits.for(turn, { label: 'upstream-install', owner: request.owner, deadline, late: leave });
  }

  function leave(): void {
    const next = queue.shift();
    if (next) next();
    else inside -= 1;
  }

  async function run(request: InstallRequest, signal: AbortSignal): Promise<void> {
    using deadline = kernel.deadline(request.budgetMs);
    const end = () => deadline.end('stopped');
    signal.addEventListener('abort', end, { once: true });
    try {
      await enter(request, deadline);
      try {
        await request.install(deadline);
        verdicts.set(request.key, 'done');
      } finally {
        leave();
      }
    } finally {
      signal.removeEventListener('abort', end);
      flights.delete(request.key);
    }
  }

  function launch(request: InstallRequest): Promise<void> {
    if (kernel.scope.closed) return Promise.reject(new HubError('draining'));
    const flight = new Promise<void>((resolve, reject) => {
      kernel.scope.run(`install for ${request.owner}`, (signal) => run(request, signal).then(resolve, reject));
    });
    flight.catch(() => {}); // everybody who waited may have left
    if (!flights.set(request.key, flight)) throw new HubError('overloaded', { message: 'too many installs at once' });
    return flight;
  }

  return {
    isDone: (key) => verdicts.get(key) === 'done',
    isDoubted: (key) => verdicts.get(key) === 'doubted',
    markDone: (key) => void verdicts.set(key, 'done'),
    doubt: (key) => void verdicts.set(key, 'doubted'),
    async once(request, deadline) {
      const flight = flights.get(request.key) ?? launch(request);
      await kernel.waits.for(flight, { label: 'upstream-install', owner: request.owner, deadline });
    },
  };
}

/**
 * Receives the supervisor's messages while a worker boots. `go` carries the limits of the configuration, from which
 * everything else is made.
 * Guarantees: no message and no SIGTERM is lost. Nothing has begun before `go`, so the process exits at once when it is
 * asked to drain, or when the supervisor has exited.
 */
import type { SendHandle } from 'node:child_process';
import type { SupervisorMessage } from '../model/supervisor-messages.ts';

type Go = SupervisorMessage & { readonly t: 'go' };

export interface HeldMessages {
  /** Settles with the supervisor's `go`; with undefined when there is no supervisor. */
  readonly go: Promise<Go | undefined>;
  /** Passes on what was received, to the listeners that are attached now. */
  release(): void;
}

export function holdMessages(): HeldMessages {
  const go = Promise.withResolvers<Go | undefined>();
  if (process.send === undefined) {
    go.resolve(undefined);
    return { go: go.promise, release: () => {} };
  }
  // bounded by: the supervisor, which sends connections to ready workers only
  const held: [message: SupervisorMessage, handle: unknown][] = [];
  let hasGone = false;
  let isTermed = false;
  const exit = (): void => process.exit(0);
  const leave = (): void => void (hasGone || exit());
  const term = (): void => {
    isTermed = true;
    leave();
  };
  const ignore = (): void => {};
  const hold = (message: SupervisorMessage, handle: unknown): void => {
    if (message.t === 'drain') leave();
    if (message.t === 'go') {
      hasGone = true;
      go.resolve(message);
    } else held.push([message, handle]);
  };
  process.on('message', hold);
  process.on('disconnect', leave);
  process.on('SIGTERM', term);
  // On a terminal the whole process group gets SIGINT; the supervisor decides.
  process.on('SIGINT', ignore);
  if (!process.connected) exit();
  return {
    go: go.promise,
    release() {
      process.off('message', hold);
      process.off('disconnect', leave);
      process.off('SIGTERM', term);
      process.off('SIGINT', ignore);
      for (const [message, handle] of held) process.emit('message', message, handle as SendHandle | undefined);
      if (isTermed) process.emit('SIGTERM', 'SIGTERM');
    },
  };
}

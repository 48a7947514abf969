/**
 * The waits of an HTTP server's life: until a launched program listens, until it has stopped, and the DELETE that ends a session.
 * Promises: each ends by its deadline; ending never rejects, and ending a session never takes longer than the handshake may.
 * Does not: start the program or know how it stops.
 */
import type { Deadline } from '../../kernel/deadline.ts';
import { HubError } from '../../kernel/errors.ts';
import type { Kernel } from '../../kernel/kernel.ts';
import type { EgressPool, ResponseController, ResponseHandler } from '../../net/egress.ts';
import type { RequestHeaders } from './_http-headers.ts';

const KNOCK_EVERY_MS = 100;

/** Knocks until the port takes connections. Throws `upstream-connect` with phase `start` at the deadline, another HubError when waiting is no use. */
export async function untilListening(
  kernel: Kernel,
  pool: EgressPool,
  owner: string,
  deadline: Deadline,
): Promise<void> {
  const sinceMs = kernel.clock.nowMs();
  for (;;) {
    try {
      await pool.probe(deadline);
      return;
    } catch (fault) {
      if (fault instanceof HubError && fault.code !== 'upstream-connect' && fault.code !== 'wait-expired') throw fault;
      if (deadline.remainingMs() <= KNOCK_EVERY_MS) {
        const detail = {
          server: owner,
          phase: 'start',
          waitedMs: Math.round(kernel.clock.nowMs() - sinceMs),
          setting: 'startMs',
          outcome: 'not-executed',
        } as const;
        throw new HubError('upstream-connect', {
          message: 'The launched program does not listen.',
          detail,
          cause: fault,
        });
      }
    }
    const rest = new Promise<void>((resolve) => {
      kernel.timers.after(KNOCK_EVERY_MS, resolve);
    });
    await kernel.waits.for(rest, { label: 'upstream-connect', owner, deadline });
  }
}

/** Never rejects; ends by the deadline. */
export async function stopLaunched(
  kernel: Kernel,
  owner: string,
  launched: { stop(deadline: Deadline): Promise<void> },
  deadline: Deadline,
): Promise<void> {
  try {
    await kernel.waits.for(launched.stop(deadline), { label: 'upstream-stop', owner, deadline });
  } catch (fault) {
    kernel.bus.publish({ type: 'task-faulted', task: `stop the program of ${owner}`, fault });
  }
}

export interface EndSessionOptions {
  readonly host: {
    readonly kernel: Kernel;
    readonly server: string;
    readonly abortReason: Error;
    readonly limits: { readonly handshakeMs: number };
  };
  readonly pool: EgressPool;
  readonly path: string;
  readonly headers: RequestHeaders;
  readonly deadline: Deadline;
}

/** DELETEs the session, so that the server does not keep it until it runs out of memory. Whatever it answers is fine. */
export async function endSession({ host, pool, path, headers, deadline }: EndSessionOptions): Promise<void> {
  using soon = deadline.sooner(host.limits.handshakeMs);
  const ended = new Promise<void>((resolve) => {
    const handler = new EndHandler(host.abortReason, resolve);
    pool.dispatch({ method: 'DELETE', path, headers: headers.end(), body: null }, handler);
  });
  try {
    await host.kernel.waits.for(ended, { label: 'upstream-stop', owner: host.server, deadline: soon });
  } catch {
    // The time is up; the pool is closed next and takes the request with it.
  }
}

/** Wants the status line only. */
class EndHandler implements ResponseHandler {
  readonly #reason: Error;
  readonly #done: () => void;

  constructor(reason: Error, done: () => void) {
    this.#reason = reason;
    this.#done = done;
  }

  onRequestStart(): void {}

  onResponseStart(controller: ResponseController): void {
    this.#done();
    controller.abort(this.#reason);
  }

  onResponseData(): void {}

  onResponseEnd(): void {
    this.#done();
  }

  onResponseError(): void {
    this.#done();
  }
}

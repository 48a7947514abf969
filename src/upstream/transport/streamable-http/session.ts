/**
 * Waits of an HTTP server: until a launched program listens, until it has stopped, and until a session has ended.
 * Guarantees: each ends by its deadline; stopping and ending a session never reject; ending a session takes at most
 * `handshakeMs`.
 */

import { HubError } from '../../../model/errors.ts';
import type { EgressPool, ResponseController, ResponseHandler } from '../../../net/egress.ts';
import type { Deadline } from '../../../runtime/deadline.ts';
import type { Runtime } from '../../../runtime/runtime.ts';
import type { RequestHeaders } from '../http/request-headers.ts';

const KNOCK_EVERY_MS = 100;

/**
 * Connects until the port accepts. Throws `upstream-connect` with phase `start` at the deadline, or another HubError
 * when waiting does not help.
 */
export async function untilListening(
  runtime: Runtime,
  pool: EgressPool,
  owner: string,
  deadline: Deadline,
): Promise<void> {
  const sinceMs = runtime.clock.nowMs();
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
          waitedMs: Math.round(runtime.clock.nowMs() - sinceMs),
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
      runtime.timers.after(KNOCK_EVERY_MS, resolve);
    });
    await runtime.waits.for(rest, { label: 'upstream-connect', owner, deadline });
  }
}

/** Waits for the end of a launched program. Never rejects; ends by the deadline. */
export async function stopLaunched(
  runtime: Runtime,
  owner: string,
  launched: { stop(deadline: Deadline): Promise<void> },
  deadline: Deadline,
): Promise<void> {
  try {
    await runtime.waits.for(launched.stop(deadline), { label: 'upstream-stop', owner, deadline });
  } catch (fault) {
    runtime.bus.publish({ type: 'task-faulted', task: `stop the program of ${owner}`, fault });
  }
}

export interface EndSessionOptions {
  readonly host: {
    readonly runtime: Runtime;
    readonly server: string;
    readonly abortReason: Error;
    readonly limits: { readonly handshakeMs: number };
  };
  readonly pool: EgressPool;
  readonly path: string;
  readonly headers: RequestHeaders;
  readonly deadline: Deadline;
  /** Default: the current one. */
  readonly session?: { readonly id: string; readonly version: string | undefined };
}

/** Statuses of a DELETE for a session that the server does not have. */
const UNKNOWN: ReadonlySet<number> = new Set([404, 410]);

/**
 * Ends a session with DELETE, so that the server can free its memory. Returns whether the server says that it no longer
 * has it. Never rejects; ends by the deadline, and within `handshakeMs`.
 */
export async function endSession(options: EndSessionOptions): Promise<boolean> {
  const { host, pool, path, headers, deadline, session } = options;
  using soon = deadline.sooner(host.limits.handshakeMs);
  let controller: ResponseController | undefined;
  const ended = new Promise<number>((resolve) => {
    const handler = new EndHandler(host.abortReason, resolve);
    const fields = headers.end(session?.id, session?.version);
    controller = pool.dispatch({ method: 'DELETE', path, headers: fields, body: null }, handler);
  });
  try {
    const status = await host.runtime.waits.for(ended, { label: 'upstream-stop', owner: host.server, deadline: soon });
    return (status >= 200 && status < 300) || UNKNOWN.has(status);
  } catch {
    controller?.abort(host.abortReason);
    return false;
  }
}

/** Waits for the status line only; 0 when none came. */
class EndHandler implements ResponseHandler {
  readonly #reason: Error;
  readonly #done: (status: number) => void;

  constructor(reason: Error, done: (status: number) => void) {
    this.#reason = reason;
    this.#done = done;
  }

  onRequestStart(): void {}

  onResponseStart(controller: ResponseController, status: number): void {
    this.#done(status);
    controller.abort(this.#reason);
  }

  onResponseData(): void {}

  onResponseEnd(): void {
    this.#done(0);
  }

  onResponseError(): void {
    this.#done(0);
  }
}

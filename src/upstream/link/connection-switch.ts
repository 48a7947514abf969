/**
 * Replaces a connection without ending it: a second one is tried when the first only returns errors, and a replaced
 * connection stays open until its calls have ended.
 * Guarantees: one trial at a time, one in 30 s; a trial that does not work is closed and the first connection stays;
 * only the last replaced connection is kept, for at most `totalMs`.
 */
import type { Limits } from '../../config/limits.ts';
import { HubError } from '../../model/errors.ts';
import type { InitializeResult } from '../../protocol/era-2025/initialize.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { Scope } from '../../runtime/scope.ts';
import type { Connection } from '../connection/connection.ts';
import type { ServerLists } from './fetch-lists.ts';
import { closingDeadline } from './link-closing.ts';
import type { LinkConnections } from './link-connections.ts';
import type { LinkStateTracker } from './link-state.ts';

export interface OpenedConnection {
  readonly connection: Connection;
  readonly hello: InitializeResult;
  readonly lists: ServerLists;
}

/** Why a connection of a link ended: a fault, or the connection that replaces it. */
export type LifeEnd = HubError | OpenedConnection;

export interface ConnectionSwitchParts {
  readonly runtime: Runtime;
  readonly limits: Pick<Limits, 'totalMs' | 'childTermMs'>;
  readonly scope: Scope;
  readonly server: string;
  readonly connections: Pick<LinkConnections, 'connect'>;
  readonly state: Pick<LinkStateTracker, 'stage'>;
}

/** From the start of one trial to the next, ms. */
const TRIAL_EVERY_MS = 30_000;
/** How often a replaced connection is checked for running calls, ms. */
const RETIRED_MS = 250;

export class ConnectionSwitch {
  readonly #parts: ConnectionSwitchParts;
  #beganMs = Number.NEGATIVE_INFINITY;
  #tried: Connection | undefined;
  #retired: Connection | undefined;

  constructor(parts: ConnectionSwitchParts) {
    this.#parts = parts;
  }

  /**
   * Calls `succeed` with a connection that has listed and is healthy, and closes it when that returns false; does
   * nothing when the trial fails or is not due.
   */
  tryAnew(succeed: (opened: OpenedConnection) => boolean): void {
    const { runtime, scope, connections } = this.#parts;
    const nowMs = runtime.clock.nowMs();
    if (this.#tried || nowMs - this.#beganMs < TRIAL_EVERY_MS) return;
    this.#beganMs = nowMs;
    const connection = connections.connect();
    this.#tried = connection;
    scope.run('trial', async () => {
      const opened = await connection.open().catch(() => undefined);
      const isWell = opened !== undefined && !opened.lists.toolsFault && (await connection.liveness.isAlive());
      const isWanted = this.#tried === connection && !scope.closed;
      if (this.#tried === connection) this.#tried = undefined;
      if (isWell && isWanted && succeed({ connection, ...opened })) return;
      using deadline = closingDeadline(this.#parts, this.#parts.state);
      await connection.close(deadline);
    });
  }

  /** Ends the current trial. */
  stopTrial(): void {
    this.#tried?.lose(new HubError('server-down', { message: `The connection to ${this.#parts.server} has ended.` }));
    this.#tried = undefined;
  }

  /** Lets the calls of this connection end there, then closes it. */
  retire(connection: Connection): void {
    const { runtime, limits, scope, server: owner } = this.#parts;
    this.#retired?.lose(new HubError('server-down', { message: `${owner} has been reconnected twice.` }));
    this.#retired = connection;
    scope.run('retire', async () => {
      using end = runtime.deadline(limits.totalMs);
      while (connection.correlator.hasCalls && end.ended === undefined && !scope.closed) {
        const backoff = new Promise<void>((resolve) => {
          runtime.timers.after(RETIRED_MS, resolve);
        });
        await runtime.waits.for(backoff, { label: 'upstream-stop', owner, deadline: end }).catch(() => {});
      }
      using deadline = closingDeadline(this.#parts, this.#parts.state);
      await connection.close(deadline);
      if (this.#retired === connection) this.#retired = undefined;
    });
  }

  /** Closes all of its connections for this reason. */
  lose(fault: HubError): void {
    this.stopTrial();
    this.#retired?.lose(fault);
  }
}

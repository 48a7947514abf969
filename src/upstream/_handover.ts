/**
 * From one connection to a server to the next without an end of the first: a second one is tried when the first is answered with errors only, and a
 * first one that has been replaced stays until the calls inside have ended.
 * Guarantees: one trial at a time, one in 30 s; a connection that does not work as well is closed and the first stays as it is; of connections that
 * were replaced the last alone is kept, for `totalMs` at most.
 * Does not: replace (`link.ts`).
 */
import type { Limits } from '../config/limits.ts';
import type { Deadline } from '../kernel/deadline.ts';
import { HubError } from '../kernel/errors.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { Scope } from '../kernel/scope.ts';
import type { ServerHello } from '../protocol/era-2025/initialize.ts';
import type { Connection } from './connection.ts';
import type { ServerLists } from './list.ts';

export interface OpenedConnection {
  readonly connection: Connection;
  readonly hello: ServerHello;
  readonly lists: ServerLists;
}

export interface HandoverParts {
  readonly kernel: Kernel;
  readonly limits: Pick<Limits, 'totalMs'>;
  readonly scope: Scope;
  readonly server: string;
  readonly connect: () => Connection;
  /** The time a connection has to close. */
  readonly closing: () => Deadline;
}

/** From the begin of one trial to the next, ms. */
const TRIAL_EVERY_MS = 30_000;
/** How often a connection that was replaced is looked at: whether calls are inside, ms. */
const RETIRED_MS = 250;

export class Handover {
  readonly #parts: HandoverParts;
  #beganMs = Number.NEGATIVE_INFINITY;
  #tried: Connection | undefined;
  #retired: Connection | undefined;

  constructor(parts: HandoverParts) {
    this.#parts = parts;
  }

  /** `succeed` gets a connection that has shaken hands, listed, and is well; nothing happens where there is none, or while it is not time. */
  tryAnew(succeed: (opened: OpenedConnection) => void): void {
    const { kernel, scope, connect } = this.#parts;
    const nowMs = kernel.clock.nowMs();
    if (this.#tried || nowMs - this.#beganMs < TRIAL_EVERY_MS) return;
    this.#beganMs = nowMs;
    const connection = connect();
    this.#tried = connection;
    scope.run('trial', async () => {
      const opened = await connection.open().catch(() => undefined);
      const isWell = opened !== undefined && !opened.lists.toolsFault && (await connection.liveness.isAlive());
      const isWanted = this.#tried === connection && !scope.closed;
      if (this.#tried === connection) this.#tried = undefined;
      if (isWell && isWanted) return succeed({ connection, ...opened });
      using deadline = this.#parts.closing();
      await connection.close(deadline);
    });
  }

  /** What is being tried is not wanted any more. */
  stopTrial(): void {
    this.#tried?.lose(new HubError('server-down', { message: `The connection to ${this.#parts.server} has ended.` }));
    this.#tried = undefined;
  }

  /** Calls that are inside this connection end there; it is closed when there are none. */
  retire(connection: Connection): void {
    const { kernel, limits, scope, server: owner } = this.#parts;
    this.#retired?.lose(new HubError('server-down', { message: `${owner} has been connected anew twice.` }));
    this.#retired = connection;
    scope.run('retire', async () => {
      using end = kernel.deadline(limits.totalMs);
      while (connection.correlator.hasCalls && end.ended === undefined && !scope.closed) {
        const rest = new Promise<void>((resolve) => {
          kernel.timers.after(RETIRED_MS, resolve);
        });
        await kernel.waits.for(rest, { label: 'upstream-stop', owner, deadline: end }).catch(() => {});
      }
      using deadline = this.#parts.closing();
      await connection.close(deadline);
      if (this.#retired === connection) this.#retired = undefined;
    });
  }

  /** Everything ends, for this reason. */
  lose(fault: HubError): void {
    this.stopTrial();
    this.#retired?.lose(fault);
  }
}

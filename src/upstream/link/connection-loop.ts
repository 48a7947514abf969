/**
 * Runs the connections of one link one after another: opens, lists, watches, closes, waits and reconnects.
 * Guarantees: there is one connection, except during a trial of a new session and while calls end in a replaced one; a
 * fault in the hub's own code does not end the loop; it ends with its scope.
 */

import { HubError } from '../../model/errors.ts';
import type { ServerSpec } from '../../model/snapshot.ts';
import type { Scope } from '../../runtime/scope.ts';
import { faultOf } from '../call-endings.ts';
import type { Connection } from '../connection/connection.ts';
import type { ConnectionHistory } from './connection-history.ts';
import type { ConnectionSwitch, LifeEnd, OpenedConnection } from './connection-switch.ts';
import { ConnectionWatch } from './connection-watch.ts';
import { HeldElsewhere, HolderGone, watchHolder } from './held-elsewhere.ts';
import { closingDeadline } from './link-closing.ts';
import type { LinkConnections } from './link-connections.ts';
import { publishReady } from './link-events.ts';
import type { LinkLists } from './link-lists.ts';
import type { LinkParts } from './link-parts.ts';
import type { LinkStateTracker } from './link-state.ts';
import type { OpeningMemory } from './opening-memory.ts';
import { startTurn } from './start-turn.ts';
import { type ConnectionEnd, waitForRetry } from './wait-for-retry.ts';

export interface ConnectionLoopParts {
  readonly link: LinkParts;
  /** The current settings of the server. */
  readonly settings: { readonly spec: ServerSpec };
  readonly scope: Scope;
  readonly state: LinkStateTracker;
  readonly history: ConnectionHistory;
  readonly opening: OpeningMemory;
  readonly lists: LinkLists;
  readonly connections: LinkConnections;
  readonly handover: ConnectionSwitch;
}

/** Returns why the connections of a stopped link end. */
export function stoppedFault(server: string): HubError {
  return new HubError('server-down', { message: `${server} was stopped.` });
}

export class ConnectionLoop {
  readonly #parts: ConnectionLoopParts;
  readonly #server: string;

  constructor(parts: ConnectionLoopParts) {
    this.#parts = parts;
    this.#server = parts.link.spec.slug;
  }

  /** Settles when the scope has closed. */
  async run(): Promise<void> {
    const { link, scope, state, history } = this.#parts;
    while (!scope.closed) {
      const end = await this.#runOne().catch((thrown: unknown): ConnectionEnd => {
        // A fault in the hub's own code must not end the link.
        return { fault: faultOf(thrown, link.runtime, this.#server), asleep: undefined };
      });
      if (scope.closed) break;
      await waitForRetry(link, history.backoff, state, end);
    }
    link.runtime.bus.publish({ type: 'server-stopped', server: this.#server, reason: 'asked' });
  }

  /** Runs one connection from opening to loss, and those that replace it. */
  async #runOne(): Promise<ConnectionEnd> {
    const { link, state, history, lists, connections, handover } = this.#parts;
    history.begin();
    lists.isStale = false;
    state.begin(link.kind === 'local' ? 'start' : 'connect');
    let connection = connections.connect();
    let end = await this.#untilLost(connection);
    while (end instanceof HeldElsewhere || !(end instanceof HubError)) {
      const next = end;
      if (next instanceof HeldElsewhere) {
        state.leaveToHolder(connection);
        await this.#close(connection);
        connection = connections.connect(next.peer);
      } else {
        handover.retire(connection);
        connection = next.connection;
      }
      if (state.stage.kind === 'stopped') connection.lose(stoppedFault(this.#server));
      end = await this.#untilLost(connection, 'hello' in next ? next : undefined);
    }
    return this.#end(connection, end);
  }

  async #end(connection: Connection, fault: HubError): Promise<ConnectionEnd> {
    const { link, state, history, handover } = this.#parts;
    if (!(fault instanceof HolderGone)) connection.lose(fault);
    const asleep = history.ended(fault, connection.lastCall, link.clientContext.subscriptions().length > 0);
    state.end(connection, asleep ?? fault, asleep ? 'asleep' : 'waiting');
    if (fault instanceof HolderGone) {
      history.backoff.retryNow();
      handover.retire(connection);
    } else await this.#close(connection);
    state.closed(connection.transport.stderrTail());
    return { fault, asleep };
  }

  async #close(connection: Connection): Promise<void> {
    using deadline = closingDeadline(this.#parts.link, this.#parts.state);
    await connection.close(deadline);
  }

  /** Returns why it was lost, or the connection that replaces it. `opened`: it is open already. */
  async #untilLost(connection: Connection, opened?: OpenedConnection): Promise<LifeEnd> {
    const { link, state, history, handover } = this.#parts;
    const end = Promise.withResolvers<LifeEnd>();
    let isOver = false;
    const finish = (how: LifeEnd): boolean => {
      const isFirst = !isOver;
      isOver = true;
      if (isFirst) end.resolve(how);
      return isFirst;
    };
    void connection.lost.then(finish);
    try {
      await (opened ? this.#becomeReady(opened) : this.#open(connection));
      history.ready();
      const tryAnew = () => handover.tryAnew(finish);
      using watch = this.#watch(connection, tryAnew);
      state.watch(watch);
      using _ = watchHolder(link, connection, { gone: finish, tryOwn: tryAnew });
      return await end.promise;
    } catch (thrown) {
      return faultOf(thrown, link.runtime, this.#server);
    } finally {
      isOver = true;
      state.watch(undefined);
      handover.stopTrial();
    }
  }

  #watch(connection: Connection, tryAnew: () => void): ConnectionWatch {
    const { link, scope, lists } = this.#parts;
    // A child has no session to lose, and a second one may not run beside the first.
    const isOurs = link.kind === 'remote' && connection.peer === undefined;
    return new ConnectionWatch({
      runtime: link.runtime,
      limits: link.limits,
      scope,
      server: this.#server,
      connection,
      failing: () => isOurs && tryAnew(),
      list: () => this.#listAgain(connection),
      lists,
    });
  }

  async #open(connection: Connection): Promise<void> {
    const { link, state } = this.#parts;
    const startMs = link.runtime.clock.nowMs();
    using turn = startTurn(link, connection.transport, (phase) => state.step(phase));
    state.open(connection, turn);
    const { hello, lists } = await connection.open(turn);
    this.#becomeReady({ connection, hello, lists }, startMs);
  }

  /** `startMs` is undefined when the link was ready before, with another connection. */
  #becomeReady({ connection, hello, lists }: OpenedConnection, startMs?: number): undefined {
    const { link, settings, state, opening } = this.#parts;
    const { runtime } = link;
    const nowMs = runtime.clock.nowMs();
    opening.changed(state.hello, hello);
    this.#parts.lists.keep(settings.spec, hello, lists, startMs === undefined);
    state.becomeReady(connection, hello);
    publishReady(runtime, this.#server, hello, lists.tools?.length ?? 0, nowMs - (startMs ?? nowMs));
    connection.clientSide.met(hello);
    link.ready();
  }

  /** Returns true when something has changed. */
  async #listAgain(connection: Connection): Promise<boolean> {
    const { link, settings, state, lists } = this.#parts;
    const { runtime, limits } = link;
    const { stage } = state;
    if (stage.kind !== 'ready') return false;
    using deadline = runtime.deadline(limits.listMs * limits.listPages);
    return lists.keep(settings.spec, stage.hello, await connection.list(stage.hello, deadline), true);
  }
}

/**
 * What a link does now. Each stage owns the data that exists only in it; `link-state.ts` changes from one to the next.
 * Several stages look the same from outside: `visibleState`.
 */

import type { HubError } from '../../model/errors.ts';
import type { LinkPhase, LinkState } from '../../model/events.ts';
import type { InitializeResult } from '../../protocol/era-2025/initialize.ts';
import type { Deadline } from '../../runtime/deadline.ts';
import type { Connection } from '../connection/connection.ts';
import type { ConnectionWatch } from './connection-watch.ts';
import type { StartTurn } from './start-turn.ts';

/** A connection is about to be created. `lastFault`: why the one before it ended, if there was one. */
export interface Starting {
  readonly kind: 'starting';
  readonly phase: LinkPhase | undefined;
  readonly lastFault: HubError | undefined;
}

/** A connection starts, initializes and lists. */
export interface Opening {
  readonly kind: 'opening';
  readonly connection: Connection;
  readonly turn: StartTurn;
  readonly phase: LinkPhase | undefined;
  readonly lastFault: HubError | undefined;
}

/** Another worker holds the only session: this connection closes, and one through that worker follows. */
export interface LeftToHolder {
  readonly kind: 'left-to-holder';
  readonly connection: Connection;
  readonly lastFault: HubError | undefined;
}

/** Calls are sent. */
export interface Ready {
  readonly kind: 'ready';
  readonly connection: Connection;
  readonly hello: InitializeResult;
  /** Absent for a moment after the connection has become ready or was replaced. */
  readonly watch: ConnectionWatch | undefined;
}

/** A lost connection closes. `next`: what follows. */
export interface Ending {
  readonly kind: 'ending';
  readonly connection: Connection;
  readonly fault: HubError;
  readonly next: 'waiting' | 'asleep';
}

/** There is no connection; the next attempt is due at `retryAtMs` (monotonic). */
export interface BackingOff {
  readonly kind: 'backing-off';
  readonly fault: HubError;
  readonly retryAtMs: number;
}

/** There is no connection; the next call creates one. */
export interface Asleep {
  readonly kind: 'asleep';
  readonly fault: HubError;
}

/** The last stage. `connection` closes until then, if there was one. */
export interface Stopped {
  readonly kind: 'stopped';
  readonly connection: Connection | undefined;
  readonly fault: HubError | undefined;
  readonly until: Deadline;
}

export type LinkStage =
  | { readonly kind: 'idle' }
  | Starting
  | Opening
  | LeftToHolder
  | Ready
  | Ending
  | BackingOff
  | Asleep
  | Stopped;

/** Returns the state that operators and callers see. */
export function visibleState(stage: LinkStage): LinkState {
  switch (stage.kind) {
    case 'starting':
    case 'opening':
    case 'left-to-holder':
      return 'connecting';
    case 'ending':
      return stage.next;
    case 'backing-off':
      return 'waiting';
    case 'idle':
    case 'ready':
    case 'asleep':
    case 'stopped':
      return stage.kind;
  }
}

/** Returns the connection of a stage, which may be closing; undefined when it has none. */
export function connectionOf(stage: LinkStage): Connection | undefined {
  switch (stage.kind) {
    case 'opening':
    case 'left-to-holder':
    case 'ready':
    case 'ending':
    case 'stopped':
      return stage.connection;
    case 'idle':
    case 'starting':
    case 'backing-off':
    case 'asleep':
      return undefined;
  }
}

/** Returns why the last connection ended; undefined when none has, or the server is ready. */
export function stageFault(stage: LinkStage): HubError | undefined {
  switch (stage.kind) {
    case 'starting':
    case 'opening':
    case 'left-to-holder':
      return stage.lastFault;
    case 'ending':
    case 'backing-off':
    case 'asleep':
    case 'stopped':
      return stage.fault;
    case 'idle':
    case 'ready':
      return undefined;
  }
}

/** Returns the phase of connecting; undefined in all other stages. */
export function stagePhase(stage: LinkStage): LinkPhase | undefined {
  switch (stage.kind) {
    case 'starting':
    case 'opening':
      return stage.phase;
    case 'left-to-holder':
      return 'connect';
    case 'idle':
    case 'ready':
    case 'ending':
    case 'backing-off':
    case 'asleep':
    case 'stopped':
      return undefined;
  }
}

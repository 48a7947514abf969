/**
 * Creates the connections of one link, and receives what they report to it.
 * Guarantees: a trial connection, and one that was replaced, do not affect the state of the link.
 */

import { limitsAtConnect } from '../../config/current-limits.ts';
import type { ServerSpec } from '../../model/snapshot.ts';
import type { InitializeResult } from '../../protocol/era-2025/initialize.ts';
import type { ClientSide } from '../connection/client-side.ts';
import { Connection } from '../connection/connection.ts';
import type { ConnectionReports } from '../connection/connection-parts.ts';
import type { ConnectionHistory } from './connection-history.ts';
import { publishRaised } from './link-events.ts';
import type { LinkLists } from './link-lists.ts';
import type { LinkParts } from './link-parts.ts';
import type { LinkStateTracker } from './link-state.ts';
import type { OpeningMemory } from './opening-memory.ts';

export interface LinkConnectionsParts {
  readonly link: LinkParts;
  /** The current settings of the server. */
  readonly settings: { readonly spec: ServerSpec };
  readonly state: LinkStateTracker;
  readonly history: Pick<ConnectionHistory, 'mayCancel'>;
  readonly opening: OpeningMemory;
  readonly lists: Pick<LinkLists, 'isStale'>;
}

export class LinkConnections implements ConnectionReports {
  readonly #parts: LinkConnectionsParts;

  constructor(parts: LinkConnectionsParts) {
    this.#parts = parts;
  }

  /** Creates a connection. `peer`: socket of the worker to connect through; undefined for a direct one. */
  connect(peer?: string): Connection {
    const { link, settings, opening } = this.#parts;
    const { runtime, version, clientContext, toolHeaders, sharing } = link;
    const makeTransport = peer === undefined ? link.makeTransport : (sharing?.through(peer) ?? link.makeTransport);
    return new Connection({
      runtime,
      limits: limitsAtConnect(link.limits),
      spec: settings.spec,
      version,
      makeTransport,
      clientContext,
      toolHeaders,
      sharing,
      peer,
      opening,
      isForward: link.kind === 'forward' || peer !== undefined,
      owner: this,
    });
  }

  /** Schedules a reading of the lists. */
  listChanged(): void {
    const { state, lists } = this.#parts;
    if (state.stage.kind === 'ready' && state.stage.watch) state.stage.watch.listChanged();
    else lists.isStale = true;
  }

  mayCancel(): boolean {
    return this.#parts.history.mayCancel();
  }

  versionBefore(): string | undefined {
    const { link, state } = this.#parts;
    return state.hello?.version ?? link.spokenBefore();
  }

  raise(silenceMs: number): void {
    const { link, settings, state } = this.#parts;
    if (state.raise(silenceMs)) publishRaised(link.runtime, settings.spec.slug, silenceMs);
  }

  renewed(clientSide: ClientSide, hello: InitializeResult): void {
    const { state } = this.#parts;
    if (state.connection?.clientSide !== clientSide) return;
    state.renewed(hello);
    clientSide.met(hello);
    this.listChanged();
  }
}

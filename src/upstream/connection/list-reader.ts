/** Reads the lists of a server on one connection. */
import type { InitializeResult } from '../../protocol/era-2025/initialize.ts';
import type { Deadline } from '../../runtime/deadline.ts';
import { listAll, NO_LISTS, type ServerLists } from '../link/fetch-lists.ts';
import type { ConnectionLoss } from './connection-loss.ts';
import type { ConnectionParts } from './connection-parts.ts';
import type { Correlator } from './correlator.ts';
import type { ServerProfile } from './server-profile.ts';

export interface ListReaderParts {
  readonly connection: Pick<ConnectionParts, 'runtime' | 'limits' | 'spec' | 'clientContext' | 'isForward'>;
  readonly correlator: Correlator;
  readonly profile: ServerProfile;
  readonly loss: Pick<ConnectionLoss, 'check'>;
}

export class ListReader {
  readonly #parts: ListReaderParts;

  constructor(parts: ListReaderParts) {
    this.#parts = parts;
  }

  /**
   * Requests only what the server declares. `besideMs`: see `listAll`. Rejects with the reason when the connection is
   * lost meanwhile: lists that its end has cut short do not count.
   */
  async read(hello: InitializeResult, deadline: Deadline, besideMs?: number): Promise<ServerLists> {
    const { connection, correlator, profile, loss } = this.#parts;
    const { runtime, limits, spec, clientContext, isForward } = connection;
    if (!clientContext.lists) return NO_LISTS;
    const lists = await listAll(
      { runtime, limits, server: spec.slug, correlator, isForward },
      hello,
      deadline,
      besideMs,
    );
    loss.check();
    profile.isToolless = lists.toolsFault !== undefined;
    return lists;
  }
}

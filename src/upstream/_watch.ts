/**
 * What goes on beside the calls of a ready connection: the pulse, and reading a changed list again.
 * Promises: ends with the connection; three missed pings lose it.
 */
import type { Limits } from '../config/limits.ts';
import { HubError } from '../kernel/errors.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { Scope } from '../kernel/scope.ts';
import { Pulse } from './_pulse.ts';
import { Relist } from './_relist.ts';
import type { Connection } from './connection.ts';

export interface WatchParts {
  readonly kernel: Kernel;
  readonly limits: Limits;
  readonly scope: Scope;
  readonly server: string;
  readonly connection: Connection;
  /** Reads the lists again; true = something had changed. May reject: the last good one stays. */
  readonly list: () => Promise<boolean>;
}

export class Watch implements Disposable {
  readonly #pulse: Pulse;
  readonly #relist: Relist;

  constructor(parts: WatchParts) {
    const { kernel, limits, scope, server, connection } = parts;
    this.#relist = new Relist({ kernel, limits }, scope, parts.list);
    this.#pulse = new Pulse({
      ...{ kernel, limits, scope, liveness: connection.liveness },
      hasCalls: () => connection.correlator.hasCalls,
      dead(misses) {
        const detail = { server, phase: 'ping', setting: 'pingMs' };
        const message = `${server} missed ${misses} pings in a row.`;
        connection.lose(new HubError('upstream-silent', { message, detail }));
      },
    });
  }

  /** A call has failed in a way that may mean that the server is gone: it is asked soon. */
  suspect(): void {
    this.#pulse.suspect();
  }

  listChanged(): void {
    this.#relist.soon();
  }

  [Symbol.dispose](): void {
    this.#pulse[Symbol.dispose]();
    this.#relist[Symbol.dispose]();
  }
}

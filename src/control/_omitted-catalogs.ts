/**
 * The catalogs that are too large for a snapshot, or for a worker's message to control.
 * Guarantees: each is reported once when it becomes too large; servers that are no longer configured are left out.
 */
import type { Limits } from '../config/limits.ts';
import type { CatalogSize } from '../model/catalog-size.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { ControlState } from './control-state.ts';

export interface OmittedCatalogsParts {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly state: ControlState;
}

export class OmittedCatalogs {
  readonly #parts: OmittedCatalogsParts;
  /** Left out of the last snapshot. */
  #leftOut: readonly CatalogSize[] = []; // bounded by: servers
  /** Reported by workers as too large to send to control. */
  readonly #unsendable = new Map<string, CatalogSize>(); // bounded by: limits.servers

  constructor(parts: OmittedCatalogsParts) {
    this.#parts = parts;
  }

  /** All of them. */
  list(): readonly CatalogSize[] {
    return this.#configured([...this.#leftOut, ...this.#unsendable.values()]);
  }

  /** Those that workers cannot send. */
  unsendable(): readonly CatalogSize[] {
    return this.#configured([...this.#unsendable.values()]);
  }

  /** Replaces those that were left out of a snapshot, and publishes an event for each new one. */
  leftOut(catalogs: readonly CatalogSize[]): void {
    const before = this.#leftOut;
    this.#leftOut = catalogs;
    for (const { server, bytes } of catalogs)
      if (!before.some((one) => one.server === server))
        this.#parts.runtime.bus.publish({ type: 'catalog-left-out', server, bytes });
  }

  /** Records a catalog that a worker cannot send. Returns false when there are more than servers may be. */
  addUnsendable({ server, bytes }: CatalogSize): boolean {
    if (this.#unsendable.size >= this.#parts.limits.servers && !this.#unsendable.has(server)) return false;
    this.#unsendable.set(server, { server, bytes });
    return true;
  }

  /** A worker has sent the catalog of this server. */
  received(server: string): void {
    this.#unsendable.delete(server);
  }

  #configured(all: readonly CatalogSize[]): readonly CatalogSize[] {
    return all.filter(({ server }) => this.#parts.state.servers.some(({ slug }) => slug === server));
  }
}

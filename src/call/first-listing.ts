/**
 * The wait `first-catalog` for calls: a name may be called before its server was listed here (see `late-names.ts`).
 * Guarantees: waits only for names that begin with the slug of a server in the view without a list, at most
 * `handshakeMs`; then the name is resolved, or the error names server, phase, time and setting. For listed servers an
 * unknown name is unknown.
 */
import { normalName } from '../catalog/exposed-name.ts';
import type { Route } from '../catalog/route.ts';
import type { View } from '../catalog/view.ts';
import { isRefusal, type Outcome, Refusal } from '../model/outcome.ts';
import type { Deadline } from '../runtime/deadline.ts';
import type { Call } from './call.ts';
import type { LateName } from './late-names.ts';
import type { PipelineParts } from './pipeline-parts.ts';
import { resolveView } from './resolve-view.ts';

export class FirstListing {
  readonly #parts: Pick<PipelineParts, 'runtime' | 'limits' | 'registry' | 'catalog' | 'lateNames'>;

  constructor(parts: Pick<PipelineParts, 'runtime' | 'limits' | 'registry' | 'catalog' | 'lateNames'>) {
    this.#parts = parts;
  }

  /**
   * Resolves a name that the view does not know yet; returns undefined when there is nothing to wait for. `routeIn`
   * searches the newer view; `unknown` is the answer if that does not know it either.
   */
  routeTo(name: string, call: Call, about: LateName<Route>, unknown: Refusal): Promise<Outcome<Route>> | undefined {
    const { lateNames } = this.#parts;
    const server = this.#unlistedServer(name, call);
    if (server !== undefined) return this.#wait(server, call, about.routeIn, unknown);
    return lateNames?.find(name, call, about)?.then((route) => route ?? unknown);
  }

  /** Returns the server without a list whose slug is the longest that the name begins with. */
  #unlistedServer(name: string, call: Call): string | undefined {
    const { catalog } = this.#parts;
    const normal = normalName(name).toLowerCase();
    const [server] = call.view.servers
      .filter((slug) => normal.startsWith(`${normalName(slug).toLowerCase()}_`))
      .filter((slug) => !catalog.isListed(slug) && !call.snapshot.listings.some((listing) => listing.server === slug))
      .sort((a, b) => b.length - a.length);
    return server;
  }

  /** Ready means that the list was read; the catalog adds it some turns later, or when another process has sent it. */
  async #untilListed(server: string, owner: string, deadline: Deadline): Promise<void> {
    const { catalog, runtime } = this.#parts;
    const { promise, resolve } = Promise.withResolvers<void>();
    const look = (): void => {
      if (catalog.isListed(server)) resolve();
    };
    const forget = catalog.onRebuilt(look);
    look();
    try {
      await runtime.waits.for(promise, { label: 'first-catalog', owner, deadline });
    } catch {
      // The name is resolved in any case.
    } finally {
      forget();
    }
  }

  async #wait(
    server: string,
    call: Call,
    find: (view: View) => Route | undefined,
    unknown: Refusal,
  ): Promise<Outcome<Route>> {
    const { runtime, limits, registry, catalog } = this.#parts;
    const startMs = runtime.clock.nowMs();
    using deadline = runtime.deadline(limits.handshakeMs);
    call.open.onEnd(() => deadline.end('cancelled'));
    const ready = await registry.whenReady(server, deadline, call.requestId);
    const waitedMs = Math.round(runtime.clock.nowMs() - startMs);
    if (isRefusal(ready)) return this.#withFigures(ready, { server, waitedMs });
    await this.#untilListed(server, call.requestId, deadline);
    const view = resolveView(catalog, call.viewName);
    return (view && find(view)) ?? unknown;
  }

  /** Adds the same members to a refusal that came at once (the server is in backoff after a failure). */
  #withFigures(refusal: Refusal, figures: { server: string; waitedMs: number }): Refusal {
    return new Refusal(refusal.code, refusal.message, {
      setting: 'handshakeMs',
      outcome: 'not-executed',
      ...figures,
      ...refusal.detail,
    });
  }
}

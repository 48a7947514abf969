/**
 * The named wait `first-catalog`: a list that is asked for before a server has ever been listed waits a little for it.
 * Promises: at most `firstCatalogMs`, and only for servers that are coming up for the first time; whoever is known already is never waited for.
 */
import type { Call } from './call.ts';
import type { PipelineParts } from './pipeline-parts.ts';

export interface FirstCatalog {
  /** Undefined = nothing to wait for. */
  wait(call: Call): Promise<void> | undefined;
}

export function createFirstCatalog(
  rooms: Pick<PipelineParts, 'runtime' | 'limits' | 'registry' | 'catalog'>,
): FirstCatalog {
  const { runtime, limits, registry, catalog } = rooms;
  const bornMs = runtime.clock.nowMs();

  /** A server that has no list yet but may get one any moment. */
  function isComing(server: string): boolean {
    const status = registry.status(server);
    return (
      status !== undefined &&
      (status.state === 'connecting' || status.state === 'idle') &&
      status.restarts === 0 &&
      registry.rawListing(server) === undefined
    );
  }

  /** It is not in the lists, but is about to be: it comes up, or what it listed is being taken in. */
  function isMissing(server: string): boolean {
    if (catalog.isListed(server)) return false;
    return (
      isComing(server) || (registry.status(server)?.state === 'ready' && registry.rawListing(server) !== undefined)
    );
  }

  return {
    wait(call) {
      // Long after the start nothing is "first" any more except a server that was just added; its list_changed tells the client.
      const patienceMs = bornMs + limits.firstCatalogMs - runtime.clock.nowMs();
      if (patienceMs <= 0) return undefined;
      const known = new Set(call.world.listings.map((listing) => listing.server)); // bounded by: servers
      const missing = call.view.servers.filter((server) => !known.has(server) && isMissing(server));
      if (missing.length === 0) return undefined;
      return waitUntil(rooms, call.requestId, patienceMs, () => !missing.some(isMissing));
    },
  };
}

async function waitUntil(
  { runtime, catalog }: Pick<PipelineParts, 'runtime' | 'catalog'>,
  owner: string,
  patienceMs: number,
  done: () => boolean,
): Promise<void> {
  using deadline = runtime.deadline(patienceMs);
  const { promise, resolve } = Promise.withResolvers<void>();
  const look = (): void => {
    if (done()) resolve();
  };
  const forget = [
    catalog.onRebuilt(look),
    runtime.bus.listen(({ type }) => {
      if (type === 'server-listed' || type === 'server-was-lost' || type === 'server-stopped') look();
    }),
  ];
  look();
  try {
    await runtime.waits.for(promise, { label: 'first-catalog', owner, deadline });
  } catch {
    // Patience is over: the list goes out without the late ones and says so in _meta.
  } finally {
    for (const stop of forget) stop();
  }
}

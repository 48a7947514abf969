/**
 * The wait `first-catalog`: a list request waits briefly for servers that have never been listed.
 * Guarantees: at most `firstCatalogMs`, no longer than the call is wanted, and only for servers that are starting for
 * the first time; never for known ones.
 */
import type { Call } from './call.ts';
import type { PipelineParts } from './pipeline-parts.ts';

export interface FirstCatalog {
  /** Returns undefined when there is nothing to wait for. */
  wait(call: Call): Promise<void> | undefined;
}

export function createFirstCatalog(
  parts: Pick<PipelineParts, 'runtime' | 'limits' | 'registry' | 'catalog'>,
): FirstCatalog {
  const { runtime, limits, registry, catalog } = parts;
  const bornMs = runtime.clock.nowMs();

  /** Tells whether a server has no list yet but may get one soon. */
  function isComing(server: string): boolean {
    const status = registry.status(server);
    return (
      status !== undefined &&
      (status.state === 'connecting' || status.state === 'idle') &&
      status.restarts === 0 &&
      registry.rawListing(server) === undefined
    );
  }

  /**
   * Tells whether a server is missing in the lists and about to be added: it is starting, or its lists are being
   * processed.
   */
  function isMissing(server: string): boolean {
    if (catalog.isListed(server)) return false;
    return (
      isComing(server) || (registry.status(server)?.state === 'ready' && registry.rawListing(server) !== undefined)
    );
  }

  return {
    wait(call) {
      // Long after the start only a server that was just added has no list; its list_changed notifies the client.
      const patienceMs = bornMs + limits.firstCatalogMs - runtime.clock.nowMs();
      if (patienceMs <= 0) return undefined;
      const known = new Set(call.snapshot.listings.map((listing) => listing.server)); // bounded by: servers
      const missing = call.view.servers.filter((server) => !known.has(server) && isMissing(server));
      if (missing.length === 0) return undefined;
      return waitUntil(parts, call, patienceMs, () => !missing.some(isMissing));
    },
  };
}

async function waitUntil(
  { runtime, catalog }: Pick<PipelineParts, 'runtime' | 'catalog'>,
  { requestId: owner, open }: Call,
  patienceMs: number,
  done: () => boolean,
): Promise<void> {
  using deadline = runtime.deadline(patienceMs);
  open.onEnd(() => deadline.end('cancelled'));
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
    // The call has ended, or the time is over: the list is sent without the missing servers, and `_meta` says so.
  } finally {
    for (const stop of forget) stop();
  }
}

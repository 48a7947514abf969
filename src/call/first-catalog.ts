/**
 * The named wait `first-catalog`: a list that is asked for before a server has ever been listed waits a little for it.
 * Promises: at most `firstCatalogMs`, and only for servers that are coming up for the first time; whoever is known already is never waited for.
 */
import type { Kernel } from '../kernel/kernel.ts';
import type { Call } from './call.ts';
import type { LineRooms } from './rooms.ts';

export interface FirstCatalog {
  /** Undefined = nothing to wait for. */
  wait(call: Call): Promise<void> | undefined;
}

export function createFirstCatalog(rooms: Pick<LineRooms, 'kernel' | 'limits' | 'fleet'>): FirstCatalog {
  const { kernel, limits, fleet } = rooms;
  const bornMs = kernel.clock.nowMs();

  /** A server that has no list yet but may get one any moment. */
  function isComing(server: string): boolean {
    const status = fleet.status(server);
    return (
      status !== undefined &&
      (status.state === 'connecting' || status.state === 'idle') &&
      status.restarts === 0 &&
      fleet.rawListing(server) === undefined
    );
  }

  return {
    wait(call) {
      // Long after the start nothing is "first" any more except a server that was just added; its list_changed tells the client.
      const patienceMs = bornMs + limits.firstCatalogMs - kernel.clock.nowMs();
      if (patienceMs <= 0) return undefined;
      const known = new Set(call.world.listings.map((listing) => listing.server)); // bounded by: servers
      const missing = call.view.servers.filter((server) => !known.has(server) && isComing(server));
      if (missing.length === 0) return undefined;
      return waitUntil(kernel, call.requestId, patienceMs, () => !missing.some(isComing));
    },
  };
}

async function waitUntil(kernel: Kernel, owner: string, patienceMs: number, done: () => boolean): Promise<void> {
  using deadline = kernel.deadline(patienceMs);
  let forget = () => {};
  const listed = new Promise<void>((resolve) => {
    forget = kernel.bus.listen((fact) => {
      if (fact.type !== 'server-listed' && fact.type !== 'server-was-lost' && fact.type !== 'server-stopped') return;
      if (done()) resolve();
    });
    if (done()) resolve();
  });
  try {
    await kernel.waits.for(listed, { label: 'first-catalog', owner, deadline });
  } catch {
    // Patience is over: the list goes out without the late ones and says so in _meta.
  } finally {
    forget();
  }
}

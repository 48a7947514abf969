/**
 * Where servers run, seen from one worker: in it, or in another worker that this one forwards to.
 * Guarantees: a local server runs in its home worker, and while workers are replaced in the one that has its process.
 */
import type { ServerSpec } from '../model/snapshot.ts';
import { isLocal } from './call-endings.ts';
import type { SessionSharing } from './link/held-elsewhere.ts';
import type { LinkKind } from './link/reconnect-backoff.ts';
import type { ServerRegistryParts } from './registry-types.ts';
import { createForwardTransport } from './transport/peer/forward.ts';
import type { Transport, TransportEvents } from './transport/transport.ts';

export class ServerPlacement {
  readonly #parts: ServerRegistryParts;

  constructor(parts: ServerRegistryParts) {
    this.#parts = parts;
  }

  /** Tells whether this is a local server of this worker, or of every worker. */
  isAtHome(spec: ServerSpec): boolean {
    return isLocal(spec) && (spec.homeHub === this.#parts.slot || spec.homeHub === 0);
  }

  kindOf(spec: ServerSpec): LinkKind {
    const { handover } = this.#parts;
    if (!isLocal(spec)) return handover?.isGiven(spec.slug) ? 'forward' : 'remote';
    return this.isAtHome(spec) && handover?.runsAt(spec.slug) === undefined ? 'local' : 'forward';
  }

  /** Creates the transport of the shared link. */
  makeTransport(spec: ServerSpec, events: TransportEvents): Transport {
    const { runtime, limits, slot, handover, peerSocket, makeTransport } = this.#parts;
    if (this.kindOf(spec) !== 'forward') return makeTransport(spec, events, true);
    const isOfThisPlace = this.isAtHome(spec) || !isLocal(spec);
    const socketPath = (isOfThisPlace && handover?.runsAt(spec.slug)) || peerSocket(spec.homeHub);
    return createForwardTransport({ runtime, limits, spec, socketPath, slot, events });
  }

  /** Returns how other workers that may hold the only session of a server are found; undefined when there are none. */
  sharingOf(spec: ServerSpec): SessionSharing | undefined {
    const { runtime, limits, slot, holders } = this.#parts;
    if (!holders || this.kindOf(spec) !== 'remote') return undefined;
    return {
      find: (deadline) => holders.find(spec, deadline),
      isHeldAt: (peer, deadline) => holders.isHeldAt(peer, spec, deadline),
      through: (socketPath) => (own, events) =>
        createForwardTransport({ runtime, limits, spec: own, socketPath, slot, events }),
    };
  }
}

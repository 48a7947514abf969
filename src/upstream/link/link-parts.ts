/** The dependencies of a link. */
import type { LearnedOpening } from '../../model/raw-listing.ts';
import type { RawListing } from '../../model/snapshot.ts';
import type { Bulkhead } from '../../resilience/bulkhead.ts';
import type { ConnectionParts } from '../connection/connection-parts.ts';
import type { LinkKind } from './reconnect-backoff.ts';

/** `clientContext`: all clients, or one session (a session connection). */
export interface LinkParts
  extends Pick<
    ConnectionParts,
    'runtime' | 'limits' | 'spec' | 'version' | 'makeTransport' | 'clientContext' | 'toolHeaders' | 'sharing'
  > {
  readonly kind: LinkKind;
  /** Limits how many children start at the same time. */
  readonly startGate: Bulkhead;
  /** How long calls wait while it connects, ms. Default: `handshakeMs`. */
  readonly patienceMs?: number | undefined;
  /** The owner that takes turns at `startGate`. Default: the server. */
  readonly startOwner?: string;
  /** Returns the protocol version that an earlier process negotiated with the server; undefined when none is known. */
  readonly spokenBefore: () => string | undefined;
  /**
   * Returns how an earlier process, or the shared link, learned to initialize the server; undefined for the usual way.
   */
  readonly openingBefore?: (() => LearnedOpening | undefined) | undefined;
  /** `isSame`: nothing in it is new. */
  readonly listed: (raw: RawListing, isSame: boolean) => void;
  readonly ready: () => void;
}

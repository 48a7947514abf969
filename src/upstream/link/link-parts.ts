/** What a link is made from. */
import type { LearnedOpening } from '../../model/raw-listing.ts';
import type { RawListing } from '../../model/snapshot.ts';
import type { Bulkhead } from '../../resilience/bulkhead.ts';
import type { ConnectionParts } from '../connection/connection-parts.ts';
import type { LinkKind } from './reconnect-backoff.ts';

/** `talk` = everybody, or one session (a lane). */
export interface LinkParts
  extends Pick<
    ConnectionParts,
    'runtime' | 'limits' | 'spec' | 'version' | 'makeTransport' | 'clientContext' | 'toolHeaders' | 'sharing'
  > {
  readonly kind: LinkKind;
  /** At most so many children load at once. */
  readonly startGate: Bulkhead;
  /** How long calls wait for it while it comes up, ms. Default: `handshakeMs`. */
  readonly patienceMs?: number | undefined;
  /** Who takes turns at the start gate with the others. Default: the server. */
  readonly startOwner?: string;
  /** The protocol version of an earlier process's life with the server; undefined = none is known. */
  readonly spokenBefore: () => string | undefined;
  /** How an earlier process, or the shared link, has learned to initialize the server; undefined or absent = as usual. */
  readonly openingBefore?: (() => LearnedOpening | undefined) | undefined;
  /** `isSame` = nothing is new in it. */
  readonly listed: (raw: RawListing, isSame: boolean) => void;
  readonly ready: () => void;
}

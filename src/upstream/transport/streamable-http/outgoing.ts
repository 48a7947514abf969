/**
 * What a POST to a server over HTTP is made from, and where it is on its way to the wire.
 */
import type { HubError } from '../../../model/errors.ts';
import type { OrderedPost } from '../http/post-order.ts';
import type { ExchangeOrigin, SentExchange } from './exchange-host.ts';
import type { StreamPlace } from './resume.ts';

/** Where a POST comes from, whatever the transport. */
export type PostOrigin = Pick<ExchangeOrigin, 'again' | 'gone'>;

export class OutgoingPost implements OrderedPost {
  /** Request id; undefined for a notification or a reply of ours. */
  readonly id: number | undefined;
  readonly frame: Buffer;
  readonly again: boolean;
  readonly gone: (() => void) | undefined;
  /** When it was made, on the kernel's clock, ms. */
  readonly sinceMs: number;
  /** Place in the transport's slots; −1 = none. */
  slot = -1;
  /** Waits for the answer to notifications/initialized, or for the GET stream. */
  held = false;
  /** While `dispatch` runs: a fault then is kept here for `send` to refuse with, instead of an event before `send` returns. */
  refused: HubError | undefined;
  dispatching = false;

  constructor(frame: Buffer, id: number | undefined, { again, gone }: PostOrigin, sinceMs: number) {
    this.frame = frame;
    this.id = id;
    this.again = again;
    this.gone = gone;
    this.sinceMs = sinceMs;
  }
}

/** A POST of the Streamable HTTP transport, which has sessions and answers that can be resumed. */
export class SessionPost extends OutgoingPost implements SentExchange {
  readonly session: string | undefined;
  readonly place: StreamPlace | undefined;
  /** Waits until the rest of its answer may be fetched. */
  resting = false;

  constructor(frame: Buffer, id: number | undefined, origin: ExchangeOrigin, sinceMs: number) {
    super(frame, id, origin, sinceMs);
    this.session = origin.session;
    this.place = origin.place;
  }
}

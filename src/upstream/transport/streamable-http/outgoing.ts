/**
 * A POST to an HTTP server: its parts and its state until it is sent.
 */
import type { HubError } from '../../../model/errors.ts';
import type { OrderedPost } from '../http/post-order.ts';
import type { ExchangeOrigin, SentExchange } from './exchange-host.ts';
import type { StreamPlace } from './resume.ts';

/** What a POST is created from, for every transport. */
export type PostOrigin = Pick<ExchangeOrigin, 'again' | 'gone'>;

export class OutgoingPost implements OrderedPost {
  /** Request id; undefined for a notification or a reply. */
  readonly id: number | undefined;
  readonly frame: Buffer;
  readonly again: boolean;
  readonly gone: (() => void) | undefined;
  /** When it was created, monotonic ms. */
  readonly sinceMs: number;
  /** Position in the transport's slots; −1 when there is none. */
  slot = -1;
  /** Waits for the answer to notifications/initialized, or for the GET stream. */
  held = false;
  /**
   * A fault during `dispatch` is kept here, so that `send` returns it as a refusal and no event comes before `send`
   * returns.
   */
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

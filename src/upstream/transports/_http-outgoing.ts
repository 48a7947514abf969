/**
 * What a POST to an HTTP server is made from, and where it is on its way to the wire.
 */
import type { HubError } from '../../kernel/errors.ts';
import type { ExchangeOrigin, SentExchange } from './_http-host.ts';
import type { StreamPlace } from './_http-resume.ts';
import type { OrderedPost } from './_post-order.ts';

export class OutgoingPost implements SentExchange, OrderedPost {
  readonly id: number | undefined;
  readonly frame: Buffer;
  readonly session: string | undefined;
  readonly again: boolean;
  readonly place: StreamPlace | undefined;
  /** When it was made, on the kernel's clock, ms. */
  readonly sinceMs: number;
  readonly gone: (() => void) | undefined;
  slot = -1;
  /** Waits for the answer to notifications/initialized, or for the GET stream. */
  held = false;
  /** Waits until the rest of its answer may be fetched. */
  resting = false;
  /** While `dispatch` runs: a fault then is kept here for `send` to refuse with, instead of an event before `send` returns. */
  refused: HubError | undefined;
  dispatching = false;

  constructor(frame: Buffer, id: number | undefined, origin: ExchangeOrigin, sinceMs: number) {
    this.frame = frame;
    this.id = id;
    this.session = origin.session;
    this.again = origin.again;
    this.gone = origin.gone;
    this.place = origin.place;
    this.sinceMs = sinceMs;
  }
}

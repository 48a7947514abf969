/**
 * Orders POSTs in both HTTP transports: requests wait for the answer to notifications/initialized and, if the server
 * asks its users, for its stream. Guarantees: no call overtakes; each wait ends after handshakeMs; lists and ping are
 * sent after a second: a result ends all waits, a refused one is sent again after the answer; a POST that fails during
 * its handover becomes a refusal of the sender.
 */

import type { HubError } from '../../../model/errors.ts';
import { isRefusal, type Outcome, Refusal } from '../../../model/outcome.ts';
import type { Envelope } from '../../../protocol/message.ts';
import type { Timers } from '../../../runtime/clock.ts';
import type { TransportEvents } from '../transport.ts';
import { isHarmlessTwice, isReplyTo } from './messages.ts';

export interface OrderedPost {
  readonly id: number | undefined;
  readonly frame: Buffer;
  /** Waits for the answer to notifications/initialized. */
  held: boolean;
  /**
   * True while it is handed over: a fault is then kept in `refused` and does not become an event before `send` returns.
   */
  dispatching: boolean;
  readonly refused: HubError | undefined;
}

export interface PostOrderParts<P extends OrderedPost> {
  readonly timers: Timers;
  /** All pending ones. */
  readonly posts: () => Iterable<P>;
  readonly dispatch: (post: P) => void;
  /**
   * notifications/initialized has been answered: opens the stream, and calls `there` when the server has answered that.
   */
  readonly open: (there: () => void) => void;
  /** Creates the same POST again, not dispatched yet; undefined when it cannot. */
  readonly again: (post: P) => P | undefined;
  /** Calls wait for the stream too. */
  readonly isStreamFirst: boolean;
  /** Longest wait for the answer, and then for the stream, ms. */
  readonly handshakeMs: () => number;
}

/** Time for which lists and ping wait for the answer to notifications/initialized, ms. */
const HOLD_MS = 1000;

export class PostOrder<P extends OrderedPost> {
  readonly #parts: PostOrderParts<P>;
  /**
   * `armed`: notifications/initialized comes next; `holding`, after a second `trying`: its answer is awaited;
   * `opening`: the stream's.
   */
  #state: 'free' | 'armed' | 'holding' | 'trying' | 'opening' = 'free';
  #hold: Disposable | undefined;
  /** Requests that were sent before the answer and have none yet. */
  readonly #early = new Map<number, P>(); // bounded by: the posts under way

  constructor(parts: PostOrderParts<P>) {
    this.#parts = parts;
  }

  /** The handshake has finished except for notifications/initialized. */
  arm(): void {
    this.reset();
    this.#early.clear();
    this.#state = 'armed';
    this.#hold = this.#parts.timers.after(HOLD_MS, () => this.#try());
  }

  /**
   * Tells whether to pass on an answer. Returns false when the server refused the request because it came too early; it
   * is then sent again.
   */
  passes(reply: number | Envelope, isError: boolean): boolean {
    if (this.#early.size === 0) return true;
    const id = typeof reply === 'number' ? reply : [...this.#early.keys()].find((one) => isReplyTo(reply, one));
    const post = id === undefined ? undefined : this.#early.get(id);
    if (id === undefined || !post) return true;
    this.#early.delete(id);
    if (!isError) {
      if (this.#state === 'trying') this.#initialized();
      return true;
    }
    const next = this.#parts.again(post);
    if (!next) return true;
    next.held = this.#state === 'trying';
    if (!next.held) this.#parts.dispatch(next);
    return false;
  }

  /** Ends the waits; what is held stays held until the next handshake. */
  reset(): void {
    this.#state = 'free';
    this.#hold?.[Symbol.dispose]();
    this.#hold = undefined;
  }

  /** Sends a request, now or later. */
  post(post: P): Outcome<void> {
    const isAsking = this.#state === 'trying' || this.#state === 'opening';
    if (this.#state === 'holding' || (isAsking && !isHarmlessTwice(post.frame))) {
      post.held = true;
      return undefined;
    }
    this.#sent(post);
    post.dispatching = true;
    this.#parts.dispatch(post);
    post.dispatching = false;
    const { refused } = post;
    return refused && new Refusal(refused.code, refused.message, refused.detail);
  }

  /** Sends a notification or a reply. `send` gets the function to call at its end. */
  letter(send: (gone?: () => void) => Outcome<void>): Outcome<void> {
    if (this.#state !== 'armed') return send();
    this.#state = 'holding';
    const sent = send(() => this.#initialized());
    if (isRefusal(sent)) this.#initialized();
    return sent;
  }

  /** notifications/initialized has had its second. */
  #try(): void {
    const { timers } = this.#parts;
    const handshakeMs = this.#parts.handshakeMs();
    if (this.#state === 'armed' || handshakeMs <= HOLD_MS) return this.#initialized();
    this.#state = 'trying';
    this.#hold = timers.after(handshakeMs - HOLD_MS, () => this.#initialized());
    this.#letGo((post) => isHarmlessTwice(post.frame));
  }

  #sent(post: P): void {
    if (this.#state === 'trying' && post.id !== undefined) this.#early.set(post.id, post);
  }

  /** notifications/initialized has been answered or has timed out, or the server does not wait for it. */
  #initialized(): void {
    if (this.#state !== 'armed' && this.#state !== 'holding' && this.#state !== 'trying') return;
    this.reset();
    const { open, isStreamFirst, timers } = this.#parts;
    const handshakeMs = this.#parts.handshakeMs();
    if (!isStreamFirst) {
      this.#letGo();
      open(() => {});
      return;
    }
    this.#state = 'opening';
    this.#hold = timers.after(handshakeMs, () => this.#there());
    // Lists and ping put no request to a user.
    this.#letGo((post) => isHarmlessTwice(post.frame));
    open(() => this.#there());
  }

  #there(): void {
    if (this.#state !== 'opening') return;
    this.reset();
    this.#letGo();
  }

  #letGo(mayGo: (post: P) => boolean = () => true): void {
    for (const post of [...this.#parts.posts()]) {
      if (!post.held || !mayGo(post)) continue;
      post.held = false;
      this.#sent(post);
      this.#parts.dispatch(post);
    }
  }
}

/** The refusal when as many requests are pending as the server's connections allow. */
export function fullRefusal(server: string): Refusal {
  return new Refusal('server-busy', undefined, { server, setting: 'serverConnections', outcome: 'not-executed' });
}

/** Returns events without the refusals of requests that were sent too early and are sent again. */
export function withoutEarly(
  events: TransportEvents,
  passes: (reply: number | Envelope, isError: boolean) => boolean,
): TransportEvents {
  return {
    ...events,
    message(envelope, exchange) {
      if (envelope.kind === 'reply' && !passes(exchange ?? envelope, envelope.error.at >= 0)) return;
      events.message(envelope, exchange);
    },
    failed: (id, fault) => (passes(id, true) ? events.failed(id, fault) : undefined),
    sessionLost: (id, fault) => (id === undefined || passes(id, true) ? events.sessionLost(id, fault) : undefined),
  };
}

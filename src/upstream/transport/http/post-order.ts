/**
 * In which order posts leave for a server, over both HTTP transports: what follows notifications/initialized waits until that one is answered, and,
 * where the server asks its users, until the stream is there on which it may ask outside of any call.
 * Guarantees: no call overtakes it; the wait for its answer ends after handshakeMs, that for the stream after handshakeMs, answer or not. After a second lists
 * and ping go out all the same: where one of them gets a result nothing waits any longer, and one that is refused goes out once more after the answer. A post that
 * fails while it is handed over is a refusal of the sender, not an event.
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
  /** While it is handed over: a fault then is kept in `refused` instead of becoming an event before `send` returns. */
  dispatching: boolean;
  readonly refused: HubError | undefined;
}

export interface PostOrderParts<P extends OrderedPost> {
  readonly timers: Timers;
  /** All that are under way. */
  readonly posts: () => Iterable<P>;
  readonly dispatch: (post: P) => void;
  /** notifications/initialized has been answered: opens the stream, and says `there` when the server has answered that, in any way. */
  readonly open: (there: () => void) => void;
  /** Makes the same post once more, not dispatched yet; undefined = it cannot be. */
  readonly again: (post: P) => P | undefined;
  /** Calls wait for the stream too. */
  readonly isStreamFirst: boolean;
  /** Longest wait for the answer, and then for the stream, ms. */
  readonly handshakeMs: number;
}

/** Lists and ping wait this long for the answer to notifications/initialized. */
const HOLD_MS = 1000;

export class PostOrder<P extends OrderedPost> {
  readonly #parts: PostOrderParts<P>;
  /** `armed`: the next notification is notifications/initialized; `holding`, and `trying` after a second: its answer is awaited; `opening`: the stream's. */
  #state: 'free' | 'armed' | 'holding' | 'trying' | 'opening' = 'free';
  #hold: Disposable | undefined;
  /** What went out before the answer and has none yet. */
  readonly #early = new Map<number, P>(); // bounded by: the posts under way

  constructor(parts: PostOrderParts<P>) {
    this.#parts = parts;
  }

  /** The handshake is over but for notifications/initialized. */
  arm(): void {
    this.reset();
    this.#early.clear();
    this.#state = 'armed';
    this.#hold = this.#parts.timers.after(HOLD_MS, () => this.#try());
  }

  /** Whether the answer to a request goes on. False = the server refused it because it came too early: it is sent once more. */
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

  /** Forgets what it waits for; what is held stays held until the next handshake. */
  reset(): void {
    this.#state = 'free';
    this.#hold?.[Symbol.dispose]();
    this.#hold = undefined;
  }

  /** A request, now or later. */
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

  /** A notification or a reply. `send` is given what must hear of its end. */
  letter(send: (gone?: () => void) => Outcome<void>): Outcome<void> {
    if (this.#state !== 'armed') return send();
    this.#state = 'holding';
    const sent = send(() => this.#initialized());
    if (isRefusal(sent)) this.#initialized();
    return sent;
  }

  /** notifications/initialized has had its second. */
  #try(): void {
    const { handshakeMs, timers } = this.#parts;
    if (this.#state === 'armed' || handshakeMs <= HOLD_MS) return this.#initialized();
    this.#state = 'trying';
    this.#hold = timers.after(handshakeMs - HOLD_MS, () => this.#initialized());
    this.#letGo((post) => isHarmlessTwice(post.frame));
  }

  #sent(post: P): void {
    if (this.#state === 'trying' && post.id !== undefined) this.#early.set(post.id, post);
  }

  /** notifications/initialized has been answered, or has had its time, or the server does not wait for it. */
  #initialized(): void {
    if (this.#state !== 'armed' && this.#state !== 'holding' && this.#state !== 'trying') return;
    this.reset();
    const { open, isStreamFirst, handshakeMs, timers } = this.#parts;
    if (!isStreamFirst) {
      this.#letGo();
      open(() => {});
      return;
    }
    this.#state = 'opening';
    this.#hold = timers.after(handshakeMs, () => this.#there());
    // Lists and ping ask nobody anything.
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

/** As many are under way as the server's connections carry. */
export function fullRefusal(server: string): Refusal {
  return new Refusal('server-busy', undefined, { server, setting: 'serverConnections', outcome: 'not-executed' });
}

/** Returns events without the refusals of requests that went out before the answer to notifications/initialized and go out again. */
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

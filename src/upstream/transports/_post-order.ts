/**
 * In which order posts leave for a server, over both HTTP transports: what follows notifications/initialized waits until that one is answered, and,
 * where the server asks its users, until the stream is there on which it may ask outside of any call.
 * Promises: nothing overtakes it; the wait for its answer ends after a second, that for the stream after handshakeMs, answer or not; a post that fails while it is handed over is a refusal of the
 * sender, not an event.
 * Does not: hold posts (its transport does) or choose sockets.
 */
import type { Timers } from '../../kernel/clock.ts';
import type { HubError } from '../../kernel/errors.ts';
import { isRefusal, type Outcome, Refusal } from '../../kernel/outcome.ts';
import { isHarmlessTwice } from './_http-messages.ts';

export interface OrderedPost {
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
  /** Calls wait for the stream too. */
  readonly isStreamFirst: boolean;
  /** So long, ms. */
  readonly streamMs: number;
}

/** Requests wait this long for the answer to notifications/initialized. */
const HOLD_MS = 1000;

export class PostOrder<P extends OrderedPost> {
  readonly #parts: PostOrderParts<P>;
  /** `armed`: the next notification is notifications/initialized; `holding`: its answer is awaited; `opening`: the stream's. */
  #state: 'free' | 'armed' | 'holding' | 'opening' = 'free';
  #hold: Disposable | undefined;

  constructor(parts: PostOrderParts<P>) {
    this.#parts = parts;
  }

  /** The handshake is over but for notifications/initialized. */
  arm(): void {
    this.reset();
    this.#state = 'armed';
    this.#hold = this.#parts.timers.after(HOLD_MS, () => this.#initialized());
  }

  /** Forgets what it waits for; what is held stays held until the next handshake. */
  reset(): void {
    this.#state = 'free';
    this.#hold?.[Symbol.dispose]();
    this.#hold = undefined;
  }

  /** A request, now or later. */
  post(post: P): Outcome<void> {
    if (this.#state === 'holding' || (this.#state === 'opening' && !isHarmlessTwice(post.frame))) {
      post.held = true;
      return undefined;
    }
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

  /** notifications/initialized has been answered, or has had its second. */
  #initialized(): void {
    if (this.#state !== 'armed' && this.#state !== 'holding') return;
    this.reset();
    const { open, isStreamFirst, streamMs, timers } = this.#parts;
    if (!isStreamFirst) {
      this.#letGo();
      open(() => {});
      return;
    }
    this.#state = 'opening';
    this.#hold = timers.after(streamMs, () => this.#there());
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
      this.#parts.dispatch(post);
    }
  }
}

/** As many are under way as the server's connections carry. */
export function fullRefusal(server: string): Refusal {
  return new Refusal('server-busy', undefined, { server, setting: 'serverConnections', outcome: 'not-executed' });
}

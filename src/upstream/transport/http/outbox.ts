/**
 * Sends notifications and replies to an HTTP server, for which no caller waits: a few at a time, the others in a
 * limited queue. Failures are not reported; calls show them.
 * Guarantees: `send` never waits; each message has its own time limit; a server that never answers them holds at most
 * `OPEN_AT_ONCE` sockets.
 */

import { type Outcome, Refusal } from '../../../model/outcome.ts';
import { CappedQueue } from '../../../runtime/capped-queue.ts';
import type { Deadline } from '../../../runtime/deadline.ts';
import type { Runtime } from '../../../runtime/runtime.ts';

export const OPEN_AT_ONCE = 3;
const QUEUED = 256;

/** A pending message; `abort` ends it on the wire. */
export interface Underway {
  abort(): void;
}

interface Letter {
  readonly frame: Buffer;
  readonly deadline: Deadline;
  readonly gone: () => void;
}

export interface OutboxOptions {
  readonly runtime: Runtime;
  readonly server: string;
  /** Time limit of one message, ms. */
  readonly lifeMs: () => number;
  /** Sends one; `gone` is called once at its end on the wire. Returns undefined when it could not be sent. */
  readonly post: (frame: Buffer, gone: () => void) => Underway | undefined;
}

export class Outbox {
  readonly #options: OutboxOptions;
  readonly #queue: CappedQueue<Letter>;
  #open = 0;
  #closed = false;

  constructor(options: OutboxOptions) {
    this.#options = options;
    this.#queue = new CappedQueue('upstream.http.outbox', QUEUED, 'refuse', options.runtime.ceilings);
  }

  /** `gone` is called once when it has been answered, has failed or has timed out. */
  send(frame: Buffer, deadline: Deadline, gone: () => void = () => {}): Outcome<void> {
    if (this.#closed) return new Refusal('server-down', undefined, { server: this.#options.server });
    const own = this.#options.runtime.deadline(Math.min(deadline.remainingMs(), this.#options.lifeMs()));
    const letter = { frame, deadline: own, gone };
    if (this.#open < OPEN_AT_ONCE) this.#post(letter);
    else if (!this.#queue.push(letter)) {
      own[Symbol.dispose]();
      return new Refusal('upstream-stuck', undefined, { server: this.#options.server, outcome: 'not-executed' });
    }
    return undefined;
  }

  /** Ends all: the owner aborts the pending ones, the queue is dropped. */
  close(): void {
    this.#closed = true;
    for (const letter of this.#queue.values()) letter.deadline[Symbol.dispose]();
    this.#queue.clear();
    this.#queue[Symbol.dispose]();
  }

  #post(letter: Letter): void {
    this.#open += 1;
    let over = false;
    const end = (): void => {
      if (over) return;
      over = true;
      this.#open -= 1;
      letter.deadline[Symbol.dispose]();
      letter.gone();
      this.#next();
    };
    const underway = this.#options.post(letter.frame, end);
    if (!underway) end();
    else if (!over) letter.deadline.onEnd(() => underway.abort());
  }

  #next(): void {
    while (!this.#closed && this.#open < OPEN_AT_ONCE) {
      const letter = this.#queue.shift();
      if (!letter) return;
      if (letter.deadline.ended === undefined) this.#post(letter);
      else letter.gone();
    }
  }
}

/**
 * Opens the GET stream of one HTTP server and passes on its messages; gives it up if it blocks other requests.
 * Guarantees: a server that twice in a row answers no request while the stream is open, and answers as soon as it is
 * closed, handles one request at a time: the stream stays closed for the rest of the connection. A probe before closing
 * it tells such a server from one that is slow to answer some requests.
 */
import type { Limits } from '../../../config/limits.ts';
import type { HubError } from '../../../model/errors.ts';
import type { Refusal } from '../../../model/outcome.ts';
import { isNamelessError } from '../../../protocol/answer.ts';
import type { Envelope } from '../../../protocol/message.ts';
import type { Runtime } from '../../../runtime/runtime.ts';
import { brokenFault } from '../../connection/invalid-answer.ts';
import type { QuotedReplies } from '../../connection/quoted-replies.ts';
import { InvalidEvents } from '../http/invalid-events.ts';
import { addressed, isReplyTo } from '../http/messages.ts';
import type { Wire } from '../http/wire.ts';
import type { TransportEvents } from '../transport.ts';
import { ServerStream } from './server-stream.ts';

/** A pending request. */
export interface PendingPost {
  readonly id: number | undefined;
  /** Monotonic ms. */
  readonly sinceMs: number;
  /** Its answer has begun, or its reply has come on the GET stream. */
  readonly isAnswered: boolean;
  /** Its exchange has ended without a reply, which may come on the GET stream. */
  readonly awaitsStream: boolean;
  /** Called when its reply has come on the GET stream. */
  replied(): void;
  /** Called when the stream that might have carried its reply has ended. */
  missed(): void;
}

export interface GetStreamParts {
  readonly runtime: Runtime;
  readonly limits: Limits;
  /** Name of the server, for people. */
  readonly server: string;
  readonly events: TransportEvents;
  readonly abortReason: Error;
  readonly quoted: QuotedReplies;
  /** False when the configuration disables the stream. */
  readonly isWanted: boolean;
  readonly wire: () => Wire | undefined;
  readonly posts: () => Iterable<PendingPost>;
}

/** A request without an answer for this long while the stream is open causes a probe, ms. */
const ASK_MS = 500;
/** A request without an answer for this long while the stream is open causes its end, ms. */
const STUCK_MS = 1500;
/** If the stream was the cause, the answer comes within this time after its end, ms. */
const VERDICT_MS = 2000;
/** Number of times in a row before the stream is given up. */
const STRIKES = 2;
const NOBODY = (): void => {};

export class GetStream {
  readonly #parts: GetStreamParts;
  #stream: ServerStream | undefined;
  #askedMs = 0;
  #openedMs: number | undefined;
  /** The server answers requests while the stream is open, or has passed the check. */
  #isProven = false;
  #isGivenUp = false;
  #strikes = 0;
  #doubts = 0;
  /** Since when the stream is closed for the check. */
  #suspendedMs: number | undefined;
  #timer: Disposable | undefined;
  /** A reply has come on it. */
  hasReplied = false;

  constructor(parts: GetStreamParts) {
    this.#parts = parts;
  }

  /** Tells whether events can come. */
  get isOpen(): boolean {
    return this.#openedMs !== undefined && this.#stream?.isUnderWay === true;
  }

  /** Opens it; calls `there` when the server has answered in any way, or there is nothing to wait for. */
  open(there: () => void): void {
    const wire = this.#parts.wire();
    if (!wire || !this.#parts.isWanted || this.#isGivenUp) return there();
    this.#stream?.close();
    const { runtime, limits, server, abortReason, quoted, events } = this.#parts;
    this.#askedMs = runtime.clock.nowMs();
    this.#openedMs = undefined;
    const stream: ServerStream = new ServerStream({
      runtime,
      limits,
      server,
      abortReason,
      pool: wire.pool,
      path: wire.path,
      headers: (lastEventId) => wire.headers.stream(lastEventId),
      // A stream that has been replaced says nothing about the new one.
      answered: () => this.#stream === stream && there(),
      opened: () => {
        if (this.#stream === stream) this.#openedMs = runtime.clock.nowMs();
      },
      ended: () => this.#stream === stream && this.#ended(),
      message: (envelope) => this.#message(envelope),
      invalid: new InvalidEvents({
        runtime,
        limits,
        quoted,
        said: (line) => events.said(line),
        unreadable: (id, why, data) => this.#unreadable(id, why, data),
      }),
      sessionLost: (fault) => this.#stream === stream && events.sessionLost(undefined, fault),
    });
    this.#stream = stream;
    stream.open();
    this.posted();
  }

  close(): void {
    this.#timer?.[Symbol.dispose]();
    this.#timer = undefined;
    this.#suspendedMs = undefined;
    this.#stream?.close();
    this.#stream = undefined;
    this.#ended();
  }

  /** Records that a request may have been sent while the stream is open. */
  posted(): void {
    if (this.#isProven || this.#timer || !this.#stream?.isUnderWay) return;
    this.#timer = this.#parts.runtime.timers.after(ASK_MS, () => this.#ask());
  }

  /** Records that the answer to a request of `sinceMs` has begun. */
  answered(sinceMs: number): void {
    if (this.#isProven) return;
    if (this.#suspendedMs !== undefined) {
      // A request that was sent since then proves nothing: the stream was closed.
      if (sinceMs < this.#suspendedMs) this.#wasStuck();
      return;
    }
    const { isUnderWay = false } = this.#stream ?? {};
    if (isUnderWay && sinceMs >= (this.#openedMs ?? this.#askedMs + STUCK_MS)) this.#trust();
  }

  #trust(): void {
    this.#isProven = true;
    this.#timer?.[Symbol.dispose]();
    this.#timer = undefined;
  }

  /** Sends a probe if a request has no answer yet: other requests may be slow, a probe is not. */
  #ask(): void {
    this.#timer = undefined;
    if (!this.#waitsFor(ASK_MS)) return;
    this.#timer = this.#parts.runtime.timers.after(STUCK_MS - ASK_MS, () => this.#look());
    this.#parts.events.question();
  }

  /** Tells whether a request has waited for nearly this long; checks again later if one has just begun to. */
  #waitsFor(ms: number): boolean {
    if (!this.#stream?.isUnderWay) return false;
    const { runtime, posts } = this.#parts;
    const waiting = [...posts()].filter((post) => post.id !== undefined && !post.isAnswered);
    if (waiting.length === 0) return false;
    const nowMs = runtime.clock.nowMs();
    if (waiting.some(({ sinceMs }) => nowMs - sinceMs >= ms * 0.9)) return true;
    this.posted();
    return false;
  }

  /** Closes the stream if a request got no answer while it was open. */
  #look(): void {
    this.#timer = undefined;
    if (!this.#waitsFor(STUCK_MS)) return;
    const { runtime } = this.#parts;
    this.#doubts += 1;
    this.#suspendedMs = runtime.clock.nowMs();
    this.#stream?.close();
    this.#stream = undefined;
    this.#ended();
    this.#timer = runtime.timers.after(VERDICT_MS, () => this.#wasNotStuck());
  }

  /** The answer came after the stream was closed: the stream was the cause. */
  #wasStuck(): void {
    this.#strikes += 1;
    if (this.#strikes < STRIKES) return this.#openAgain();
    this.#isGivenUp = true;
    this.#suspendedMs = undefined;
    this.#trust();
    this.#parts.events.learned(
      'answers no request while its GET stream is open, so that the stream stays closed ("getStream": false)',
    );
  }

  /** The server is slow or unreachable without the stream as well. */
  #wasNotStuck(): void {
    this.#strikes = 0;
    if (this.#doubts >= STRIKES) this.#trust();
    this.#openAgain();
  }

  #openAgain(): void {
    this.#timer?.[Symbol.dispose]();
    this.#timer = undefined;
    this.#suspendedMs = undefined;
    this.open(NOBODY);
  }

  #ended(): void {
    this.#openedMs = undefined;
    for (const post of [...this.#parts.posts()]) post.missed();
  }

  /** A reply on the GET stream ends the call, and its POST, which the server may never answer. */
  #message(envelope: Envelope): void {
    if (isNamelessError(envelope)) {
      const [own] = addressed([envelope], this.#onlyAwaiting()?.id);
      if (own === undefined || own === envelope) return this.#parts.events.unmatched();
      return this.#message(own);
    }
    if (envelope.kind === 'reply')
      for (const post of [...this.#parts.posts()])
        if (post.id !== undefined && isReplyTo(envelope, post.id)) {
          this.hasReplied = true;
          post.replied();
          this.#trust();
        }
    this.#parts.events.message(envelope, undefined);
  }

  /** Returns the request that a reply without an id is for: another, whose exchange is open, cannot be meant. */
  #onlyAwaiting(): PendingPost | undefined {
    const [only, other] = [...this.#parts.posts()].filter(({ awaitsStream }) => awaitsStream);
    return other === undefined ? only : undefined;
  }

  /** A reply on the GET stream is invalid: the call that waits for it ends. */
  #unreadable(named: number | undefined, why: Refusal, data: Buffer): void {
    const { server, events, posts } = this.#parts;
    const fault: HubError = brokenFault(server, why, data);
    const id = named ?? this.#onlyAwaiting()?.id;
    if (id === undefined) return events.unmatched();
    for (const post of [...posts()]) if (post.id === id) post.replied();
    events.failed(id, fault);
  }
}

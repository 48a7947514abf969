/**
 * The GET stream for messages that belong to no request. It is no sign of life of a call; the link survives its end.
 * Guarantees: a server without one (400, 404, 405, 501, other media type) is asked once; otherwise it is reopened with
 * backoff (at most ten times in the first minute, then once a minute; later if `retry` says so) and after 15 min of
 * silence; after a gap, list_changed is reported.
 */
import type { Limits } from '../../../config/limits.ts';
import type { HubError } from '../../../model/errors.ts';
import { isRefusal } from '../../../model/outcome.ts';
import type { EgressPool, ResponseController, ResponseHandler, ResponseHeaders } from '../../../net/egress.ts';
import type { Envelope } from '../../../protocol/message.ts';
import { scanEnvelope } from '../../../protocol/scan.ts';
import { notificationFrame } from '../../../protocol/write.ts';
import { backoffMs } from '../../../runtime/backoff.ts';
import { IdleWatch } from '../../../runtime/idle-watch.ts';
import type { Runtime } from '../../../runtime/runtime.ts';
import { answerKind } from '../http/answer.ts';
import { httpFault } from '../http/http-fault.ts';
import type { InvalidEvents } from '../http/invalid-events.ts';
import { EventReader } from '../http/messages.ts';
import { PacedReader } from '../paced-reader.ts';

const REST = { baseMs: 1000, capMs: 120_000 } as const;
/** A stream that was open this long is reopened quickly (proxies close idle streams after 60 s). */
const LONG_LIFE_MS = 60_000;
/** Statuses of a server without such a stream. */
const NONE: ReadonlySet<number> = new Set([400, 404, 405, 501]);
const NOT_FOUND = { status: 404, headers: {}, body: Buffer.alloc(0), asked: 'GET, for the stream' } as const;
const LISTS_CHANGED = noticesOf(notificationFrame('notifications/tools/list_changed', undefined));
const IDLE_MS = 15 * 60_000;
const MAX_RETRY_MS = 10 * 60_000;

export interface ServerStreamOptions {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly pool: EgressPool;
  readonly path: string;
  readonly abortReason: Error;
  readonly headers: (lastEventId: string | undefined) => string[];
  /** Called each time that a request for the stream was answered or has failed. */
  readonly answered: () => void;
  readonly message: (envelope: Envelope) => void;
  /** Takes events that are no valid messages. */
  readonly invalid: Pick<InvalidEvents, 'take'>;
  readonly opened: () => void;
  /** Called when an open stream has ended, or could not be opened. */
  readonly ended: () => void;
  /** Called when a stream that was open before gets 404: the session may be lost. */
  readonly sessionLost: (fault: HubError) => void;
  /** Name of the server, for people. */
  readonly server: string;
}

export class ServerStream {
  readonly #options: ServerStreamOptions;
  #opening: StreamExchange | undefined;
  #rest: Disposable | undefined;
  #attempt = 0;
  #retryMs = 0;
  #lastEventId: string | undefined;
  #everOpen = false;
  #closed = false;

  constructor(options: ServerStreamOptions) {
    this.#options = options;
  }

  /** True when it is open or has been requested. */
  get isUnderWay(): boolean {
    return this.#opening !== undefined;
  }

  open(): void {
    if (this.#closed || this.#opening) return;
    const { pool, path, headers } = this.#options;
    const exchange = new StreamExchange({ ...this.#options, opened: () => this.#opened() }, (end) =>
      this.#ended(exchange, end),
    );
    this.#opening = exchange;
    exchange.dispatched(
      pool.dispatch({ method: 'GET', path, headers: headers(this.#lastEventId), body: null }, exchange),
    );
  }

  close(): void {
    this.#closed = true;
    this.#rest?.[Symbol.dispose]();
    this.#opening?.abort();
  }

  #opened(): void {
    this.#options.opened();
    // The server may have sent these during the gap.
    if (this.#everOpen) for (const notice of LISTS_CHANGED) this.#options.message(notice);
    this.#everOpen = true;
  }

  #ended(exchange: StreamExchange, end: StreamEnd): void {
    if (this.#opening === exchange) this.#opening = undefined;
    this.#options.ended();
    this.#lastEventId = end.lastEventId ?? this.#lastEventId;
    if (end.retryMs !== undefined) this.#retryMs = Math.min(end.retryMs, MAX_RETRY_MS);
    if (this.#closed) return;
    if (!this.#everOpen && (end.foreign || NONE.has(end.status))) return;
    if (end.status === 404) this.#options.sessionLost(httpFault(this.#options, NOT_FOUND));
    // The session and this stream may have been replaced.
    if (this.#closed) return;
    if ((end.livedMs ?? 0) >= LONG_LIFE_MS) this.#attempt = 0;
    this.#attempt += 1;
    const { runtime } = this.#options;
    const restMs = Math.max(backoffMs(this.#attempt, REST, runtime.random), this.#retryMs);
    this.#rest = runtime.timers.after(restMs, () => this.open());
  }
}

interface StreamEnd {
  /** 0 when there was no answer. */
  readonly status: number;
  /** Answered 200 with another media type. */
  readonly foreign: boolean;
  /** Undefined when it was never open. */
  readonly livedMs: number | undefined;
  readonly retryMs: number | undefined;
  readonly lastEventId: string | undefined;
}

type StreamExchangeOptions = ServerStreamOptions;

class StreamExchange implements ResponseHandler {
  readonly #options: StreamExchangeOptions;
  readonly #ended: (end: StreamEnd) => void;
  #controller: ResponseController | undefined;
  #events: EventReader | undefined;
  readonly #reader: PacedReader;
  #watch: IdleWatch | undefined;
  #openedMs: number | undefined;
  #status = 0;
  #foreign = false;
  #aborted = false;
  #over = false;

  constructor(options: StreamExchangeOptions, ended: (end: StreamEnd) => void) {
    this.#options = options;
    this.#ended = ended;
    this.#reader = new PacedReader({
      runtime: options.runtime,
      server: options.server,
      step: () => (this.#aborted ? 'done' : (this.#events?.step() ?? 'done')),
      read: () => {
        if (this.#events?.refusal) this.#cut();
      },
      ended: () => this.#finish(),
    });
  }

  abort(): void {
    this.#aborted = true;
    this.#cut();
  }

  dispatched(controller: ResponseController): void {
    if (this.#over) return;
    this.#controller = controller;
    if (this.#aborted) this.#cut();
  }

  onRequestStart(controller: ResponseController): void {
    this.#controller = controller;
    if (this.#aborted) this.#cut();
    else this.#watch = new IdleWatch(IDLE_MS, this.#options.runtime.wheel, () => this.#cut());
  }

  onResponseStart(_controller: ResponseController, status: number, headers: ResponseHeaders): void {
    if (status < 200) return;
    this.#status = status;
    this.#foreign = status < 300 && answerKind(status, headers, true) !== 'sse';
    if (status >= 300 || this.#foreign) {
      this.#cut();
      return;
    }
    this.#options.answered();
    this.#options.opened();
    this.#events = new EventReader(this.#options.limits, {
      message: (message) => this.#aborted || this.#options.message(message),
      invalid: (data, why) => this.#options.invalid.take(data, why),
    });
    this.#openedMs = this.#options.runtime.clock.nowMs();
  }

  onResponseData(controller: ResponseController, chunk: Buffer): void {
    if (this.#aborted) return;
    this.#watch?.touch();
    this.#events?.feed(chunk);
    this.#reader.run(controller);
  }

  onResponseEnd(): void {
    this.#reader.end();
  }

  onResponseError(_controller: ResponseController, fault: Error): void {
    if (this.#aborted) this.#finish();
    else this.#reader.end(fault);
  }

  #cut(): void {
    this.#controller?.abort(this.#options.abortReason);
  }

  #finish(): void {
    if (this.#over) return;
    this.#over = true;
    this.#reader.cancel();
    this.#watch?.[Symbol.dispose]();
    this.#controller = undefined;
    this.#options.answered();
    const nowMs = this.#options.runtime.clock.nowMs();
    this.#ended({
      status: this.#status,
      foreign: this.#foreign,
      livedMs: this.#openedMs === undefined ? undefined : nowMs - this.#openedMs,
      retryMs: this.#events?.retryMs,
      lastEventId: this.#events?.lastEventId,
    });
  }
}

function noticesOf(frame: Buffer): readonly Envelope[] {
  const notice = scanEnvelope(frame, { maxDepth: 2, maxIdBytes: 0, strict: true });
  return isRefusal(notice) ? [] : [notice];
}

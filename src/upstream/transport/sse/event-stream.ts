/**
 * The GET stream of an HTTP+SSE server: its first event gives the address for messages, other events are messages.
 * Guarantees: `lost` is called once, at any end except an abort, and nothing follows; an endpoint on another origin is
 * refused; an event above answerBytes ends the stream; an invalid message is reported and skipped, because all calls
 * share the stream. The caller limits the time and reopens it.
 */
import type { Limits } from '../../../config/limits.ts';
import { HubError } from '../../../model/errors.ts';
import type { Refusal } from '../../../model/outcome.ts';
import type { ResponseController, ResponseHandler, ResponseHeaders } from '../../../net/egress.ts';
import { hubErrorFromNet } from '../../../net/errors.ts';
import type { Envelope } from '../../../protocol/message.ts';
import type { SseEvent } from '../../../protocol/sse.ts';
import type { Runtime } from '../../../runtime/runtime.ts';
import type { QuotedReplies } from '../../connection/quoted-replies.ts';
import {
  answerKind,
  endedFault,
  largeFault,
  protocolFault,
  redirectFault,
  unknownCoding,
  wrongType,
} from '../http/answer.ts';
import { bodyKindOf } from '../http/answer-body.ts';
import { BodyCollector } from '../http/body-collector.ts';
import { addressOf, httpFault } from '../http/http-fault.ts';
import { InvalidEvents } from '../http/invalid-events.ts';
import { EventReader } from '../http/messages.ts';
import { PacedReader, type ReadStep } from '../paced-reader.ts';

export interface SseStreamOptions {
  readonly runtime: Runtime;
  readonly limits: Limits;
  /** Name of the server, for people. */
  readonly server: string;
  /** The configured address. */
  readonly url: URL;
  readonly abortReason: Error;
  /** Once: where messages are posted. */
  readonly quoted: QuotedReplies;
  readonly opened: (endpoint: URL) => void;
  readonly alive: () => void;
  readonly message: (envelope: Envelope) => void;
  /** Called for an invalid event that should have been the answer to this request, or to an unknown one. */
  readonly unreadable: (id: number | undefined, why: Refusal, data: Buffer) => void;
  /** Reports a problem with a message; at most once a second. */
  readonly said: (line: string) => void;
  readonly lost: (fault: HubError) => void;
}

/** A longer address is not accepted. */
const ENDPOINT_BYTES = 8192;
/** Longest wait for the body of a refusal, ms. */
const REFUSAL_MS = 1000;

export class SseStream implements ResponseHandler {
  readonly #options: SseStreamOptions;
  readonly #events: EventReader;
  readonly #reader: PacedReader;
  readonly #sinceMs: number;
  #controller: ResponseController | undefined;
  #status = 0;
  #headers: ResponseHeaders = {};
  #page: BodyCollector | undefined;
  /** What is wrong with its media type, until its first bytes arrive. */
  #foreign: string | undefined;
  #isOpen = false;
  #over = false;
  #aborted = false;
  readonly #invalid: InvalidEvents;

  constructor(options: SseStreamOptions) {
    this.#options = options;
    this.#events = new EventReader(options.limits, {
      isOther: (event) => this.#isOther(event),
      message: (message) => this.#over || options.message(message),
      invalid: (data, why) => this.#invalid.take(data, why),
    });
    this.#reader = new PacedReader({
      runtime: options.runtime,
      server: options.server,
      step: () => this.#step(),
      read: () => {},
      ended: (fault) => this.#ended(fault),
    });
    this.#sinceMs = options.runtime.clock.nowMs();
    this.#invalid = new InvalidEvents({
      ...options,
      unreadable: (id, why, data) => this.#over || options.unreadable(id, why, data),
    });
  }

  /** Closes it; `lost` is not called. */
  abort(): void {
    this.#over = true;
    this.#reader.cancel();
    this.#cut();
  }

  onRequestStart(controller: ResponseController): void {
    this.#controller = controller;
    if (this.#aborted) this.#cut();
  }

  onResponseStart(_controller: ResponseController, status: number, headers: ResponseHeaders): void {
    if (status < 200 || this.#over) return;
    this.#status = status;
    const { server, limits } = this.#options;
    const kind = answerKind(status, headers, true);
    if (kind === 'sse') this.#options.alive();
    else if (kind === 'json' || kind === 'foreign') this.#foreign = wrongType(headers, status);
    else if (kind === 'error' || kind === 'auth') {
      this.#headers = headers;
      this.#page = new BodyCollector(limits.errorBytes);
      // The status is sufficient if the body does not come.
      if (kind === 'auth') this.#options.runtime.timers.after(REFUSAL_MS, () => this.#loseWithPage());
    } else if (kind === 'redirect') this.#lose(redirectFault(server, status, headers));
    else if (kind === 'coded') this.#lose(protocolFault(server, status, unknownCoding(headers)));
    else this.#lose(protocolFault(server, status, wrongType(headers, status)));
  }

  onResponseData(controller: ResponseController, chunk: Buffer): void {
    if (this.#over) return;
    if (this.#page) {
      if (!this.#page.add(chunk)) this.#loseWithPage();
      return;
    }
    this.#options.alive();
    if (!this.#isEventStream(chunk)) return;
    this.#events.feed(chunk);
    this.#reader.run(controller);
  }

  #step(): ReadStep {
    const step = this.#over ? 'done' : this.#events.step();
    // The only reason for a refusal is the size.
    if (this.#events.refusal) this.#lose(largeFault(this.#options.server, this.#options.limits.answerBytes));
    if (step === 'long' && !this.#over) this.#options.alive();
    return step;
  }

  /** Checks the media type against the first bytes. */
  #isEventStream(chunk: Buffer): boolean {
    if (this.#foreign === undefined) return true;
    const isEvents = bodyKindOf(chunk) === 'sse';
    if (!isEvents) this.#lose(protocolFault(this.#options.server, this.#status, this.#foreign));
    this.#foreign = undefined;
    return isEvents;
  }

  onResponseEnd(): void {
    this.#reader.end();
  }

  onResponseError(_controller: ResponseController, fault: Error): void {
    this.#reader.end(fault);
  }

  /** Everything received has been read. */
  #ended(fault: Error | undefined): void {
    const { server, url } = this.#options;
    if (fault) {
      const phase = this.#status > 0 ? 'answer' : this.#controller ? 'request' : 'connect';
      const sent = this.#controller !== undefined;
      const asked = `GET ${addressOf(url)}`;
      this.#lose(hubErrorFromNet(fault, { server, phase, sent, waitedMs: this.#ageMs(), asked }));
    } else if (this.#page) this.#loseWithPage();
    else if (this.#foreign !== undefined) this.#lose(protocolFault(server, this.#status, this.#foreign));
    else this.#lose(endedFault(server, this.#ageMs()));
  }

  #isOther(event: SseEvent): boolean {
    // Without data an event only sets an id or a retry time, which this transport does not use.
    if (!this.#over && !this.#isOpen && event.data.length > 0) {
      this.#open(event);
      return true;
    }
    return this.#over || !this.#isOpen;
  }

  #open({ event, data }: SseEvent): void {
    const { server, url, opened } = this.#options;
    // Some servers send other events first; the time limit of the handshake ends the wait for the endpoint.
    if (event !== 'endpoint') return;
    const text = data.length > ENDPOINT_BYTES ? '' : data.toString('utf8').trim();
    const endpoint = text === '' ? null : URL.parse(text, url.href);
    if (endpoint === null) this.#lose(protocolFault(server, this.#status, 'its endpoint is not an address'));
    else if (endpoint.origin !== url.origin) this.#lose(foreignFault(server, url, endpoint));
    else {
      this.#isOpen = true;
      opened(endpoint);
    }
  }

  #loseWithPage(): void {
    const body = this.#page?.take() ?? Buffer.alloc(0);
    const asked = `GET ${addressOf(this.#options.url)}`;
    this.#lose(httpFault(this.#options, { status: this.#status, headers: this.#headers, body, asked }));
  }

  #lose(fault: HubError): void {
    if (this.#over) return;
    this.#over = true;
    this.#reader.cancel();
    this.#cut();
    this.#options.lost(fault);
  }

  #cut(): void {
    this.#aborted = true;
    this.#controller?.abort(this.#options.abortReason);
  }

  #ageMs(): number {
    return this.#options.runtime.clock.nowMs() - this.#sinceMs;
  }
}

function foreignFault(server: string, own: URL, { origin }: URL): HubError {
  const to = origin === 'null' ? 'something that is not a web address' : origin.slice(0, 200);
  return new HubError('upstream-protocol', {
    message: `The server names an endpoint at ${to} instead of ${own.origin}; messages go to its own origin only.`,
    detail: { server, phase: 'answer', reason: 'foreign-endpoint', outcome: 'not-executed' },
  });
}

/**
 * Pending requests on one connection, and the assignment of messages to them.
 * Guarantees: ids are the hub's own and not reused early, so that late, duplicate and foreign answers match nothing;
 * progress reaches only its call, with the client's token; a flood of requests is dropped; settled calls free slots.
 */
import type { Limits } from '../../config/limits.ts';
import { HubError } from '../../model/errors.ts';
import { isRefusal, type Outcome, Refusal } from '../../model/outcome.ts';
import { isNamelessError, replyFault, replyNumber } from '../../protocol/answer.ts';
import { filledResult } from '../../protocol/empty-result.ts';
import { jsonBytes } from '../../protocol/json-text.ts';
import type { Envelope, Span } from '../../protocol/message.ts';
import { notificationFrame, requestFrame } from '../../protocol/write.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { UpstreamReply } from '../call.ts';
import { notSentRefusal } from '../call-endings.ts';
import type { Transport } from '../transport/transport.ts';
import type { CorrelatorHandlers } from './correlator-handlers.ts';
import { unusableAnswer } from './invalid-answer.ts';
import { InvalidMessages } from './invalid-messages.ts';
import { PendingRequest, type PendingRequestHandlers, type RequestOptions } from './pending-request.ts';
import { RequestTable } from './request-table.ts';
import { ServerNotifications } from './server-notifications.ts';
import { ServerRequests } from './server-requests.ts';
import { UnownedAnswers } from './unowned-answers.ts';

/** Longest time for which notifications and answers to a server wait to be written, ms. */
const ASIDE_MS = 5000;
/** A longer error without an id is not kept until its request is known. */
const MOST_KEPT_BYTES = 65_536;

interface Place {
  readonly pending: PendingRequest;
  /** Builds the params again, for a request that is sent once more. */
  readonly params: (id: number) => Buffer | undefined;
  /** Position in the order of sent messages. */
  readonly order: number;
}

export class Correlator {
  readonly #runtime: Runtime;
  readonly #server: string;
  readonly #transport: Transport;
  readonly #requests: RequestTable<Place>;
  readonly #handlers: CorrelatorHandlers;
  readonly #requestHandlers: PendingRequestHandlers;
  readonly #notifications: ServerNotifications;
  readonly #invalid: InvalidMessages;
  readonly #serverRequests: ServerRequests;
  readonly #unowned: UnownedAnswers;
  #order = 0;
  /** Positions of the last message without an answer, and of the newest request that was answered. */
  #noticed = 0;
  #answered = 0;
  #strangers = 0;

  constructor(parts: {
    runtime: Runtime;
    limits: Pick<Limits, 'serverNotificationsPerSecond' | 'noticeBytes' | 'idBytes'>;
    server: string;
    transport: Transport;
    handlers: CorrelatorHandlers;
  }) {
    this.#runtime = parts.runtime;
    this.#server = parts.server;
    this.#transport = parts.transport;
    this.#handlers = parts.handlers;
    this.#requests = new RequestTable('upstream.in-flight', parts.runtime.ceilings);
    this.#invalid = new InvalidMessages(parts.runtime, parts.server);
    this.#notifications = new ServerNotifications({
      runtime: parts.runtime,
      limits: parts.limits,
      server: parts.server,
      invalid: this.#invalid,
      handlers: parts.handlers,
      ownerOf: (bytes, token) => this.#owner(bytes, token)?.pending,
    });
    this.#unowned = new UnownedAnswers(parts.runtime.timers);
    this.#serverRequests = new ServerRequests({
      ...{ runtime: parts.runtime, idBytes: parts.limits.idBytes },
      invalid: this.#invalid,
      ask: (envelope, exchange) => parts.handlers.question(envelope, exchange),
      reply: (frame) => this.aside(frame),
    });
    this.#requestHandlers = {
      silent: (pending) => this.#handlers.silent(pending),
      tooSilent: (pending, silentMs) => this.#handlers.tooSilent(pending, silentMs),
      ended: (pending) => this.#handlers.ended(pending),
      settled: (pending) => {
        this.#requests.free(pending.id, pending.answered);
        this.#unowned.ended(pending.id, pending.answered || pending.failed);
      },
    };
  }

  get inFlight(): number {
    return this.#requests.size;
  }

  /** Ids of the requests of this connection. */
  get ids(): Pick<RequestTable<unknown>, 'takeId' | 'startFrom'> {
    return this.#requests;
  }

  /** True while a call is pending; each has its own watch (lists, pings and handshakes have none). */
  get hasCalls(): boolean {
    return this.newest(isCall) !== undefined;
  }

  /** Returns the newest pending request that matches. */
  newest(fits: (pending: PendingRequest) => boolean): PendingRequest | undefined {
    let newest: Place | undefined;
    for (const place of this.#requests.values())
      if (fits(place.pending) && (newest === undefined || place.order > newest.order)) newest = place;
    return newest?.pending;
  }

  /** Unmatched messages: late, duplicate or foreign answers and progress, and requests above the rate. */
  get strangers(): number {
    return this.#strangers;
  }

  /** Sends a request; `params` gets the id, also its progress token. A refusal without a promise: not sent. */
  ask(
    plan: RequestOptions,
    params: (id: number) => Buffer | undefined,
  ): Outcome<UpstreamReply> | Promise<Outcome<UpstreamReply>> {
    const ended = plan.budget.deadline.ended;
    if (ended !== undefined) return notSentRefusal(plan, ended);
    const nowMs = this.#runtime.clock.nowMs();
    this.#order += 1;
    const id = this.#requests.add((own) => ({
      ...{ pending: new PendingRequest(own, plan, this.#requestHandlers, nowMs), params, order: this.#order },
    }));
    const pending = this.at(id);
    if (!pending) return new Refusal('server-busy', undefined, { phase: 'call', outcome: 'not-executed' });
    this.#notifications.earn();
    return new Promise((resolve) => {
      try {
        pending.begin(this.#runtime, resolve);
        this.#send(pending, requestFrame(pending.id, plan.method, params(pending.id)));
      } catch (fault) {
        const refusal = this.#broken(fault);
        pending.settle(refusal);
        // If it had not begun there was nothing to settle.
        this.#requests.free(id, true);
        resolve(refusal);
      }
    });
  }

  /** Returns the refusal when the table of waits is full, or the hub has a fault. */
  #broken(fault: unknown): Refusal {
    if (fault instanceof HubError) return new Refusal(fault.code, fault.message, fault.detail);
    this.#runtime.bus.publish({ type: 'task-faulted', task: 'upstream request', fault });
    return new Refusal('internal');
  }

  /** Sends a request again that was not executed. */
  again(pending: PendingRequest): void {
    const place = this.#requests.at(pending.id);
    if (pending.over || place?.pending !== pending) return;
    pending.resent = true;
    pending.touch();
    this.#send(pending, requestFrame(pending.id, pending.plan.method, place.params(pending.id)));
  }

  #send(pending: PendingRequest, frame: Buffer): void {
    const sent = this.#transport.send(frame, pending.id, pending.plan.budget.deadline, pending.plan.share);
    if (isRefusal(sent)) pending.settle(sent);
  }

  notify(method: string, params: Buffer | undefined): void {
    this.aside(notificationFrame(method, params));
  }

  /** Ends the request on the wire, and sends a cancel unless the request was never sent. */
  cancel(pending: PendingRequest, reason: string): void {
    const mayHaveLeft = this.#transport.abort(pending.id);
    // initialize is never cancelled (specification, cancellation).
    if (!mayHaveLeft || pending.plan.method === 'initialize' || !this.#handlers.mayCancel()) return;
    this.notify('notifications/cancelled', jsonBytes({ requestId: pending.id, reason }));
  }

  message(envelope: Envelope, exchange: number | undefined, nowMs?: number): void {
    if (exchange !== undefined) this.at(exchange)?.touch(nowMs);
    if (envelope.repaired !== undefined) this.#invalid.count('repaired', envelope.repaired);
    if (envelope.kind === 'reply') this.#reply(envelope);
    else {
      const handler = envelope.kind === 'notification' ? this.#notifications : this.#serverRequests;
      if (!handler.take(envelope, exchange)) this.#strangers += 1;
    }
  }

  /** An answer without a readable id came: the request that it must belong to ends with this fault. */
  unreadable(fault: HubError): void {
    this.#invalid.count('refused', fault.message);
    this.#unowned.add(this.#pendingIds(), (id) => this.#fail(id, fault));
  }

  /** Ends a request whose exchange has ended without an answer. */
  failed(id: number, fault: HubError): void {
    if (fault.code === 'upstream-invalid') this.#invalid.count('refused', fault.message);
    this.#fail(id, fault);
  }

  #fail(id: number, fault: HubError): void {
    const pending = this.at(id);
    if (pending === undefined) return;
    pending.failed = true;
    pending.settle(new Refusal(fault.code, fault.message, fault.detail));
  }

  *#pendingIds(): Generator<number> {
    for (const { pending } of this.#requests.values()) yield pending.id;
  }

  /** Ends every pending request. */
  failAll(refusal: (pending: PendingRequest) => Refusal): void {
    for (const { pending } of [...this.#requests.values()]) pending.settle(refusal(pending));
  }

  /** Records a sign of life of one call, or of the server. `nowMs`: the current time, if the caller has it. */
  alive(id: number | undefined, nowMs?: number): void {
    if (id === undefined) for (const { pending } of this.#requests.values()) pending.touch(nowMs);
    else this.at(id)?.touch(nowMs);
  }

  /** Returns the server's own name for its request with this id. */
  questionKey(idRaw: string): string | undefined {
    return this.#transport.questionKey?.(idRaw);
  }

  /** Returns the pending request with this id. */
  at(id: number): PendingRequest | undefined {
    return this.#requests.at(id)?.pending;
  }

  [Symbol.dispose](): void {
    this.#requests[Symbol.dispose]();
    this.#unowned[Symbol.dispose]();
  }

  #reply(envelope: Envelope): void {
    const { bytes, id } = envelope;
    const place = this.#owner(bytes, id);
    if (place) return this.#take(place, envelope);
    if (!this.#isAnswerOfPending(envelope)) {
      this.#strangers += 1;
      return;
    }
    if (bytes.length > MOST_KEPT_BYTES && this.#requests.size > 1)
      return this.unreadable(unusableAnswer(this.#server, 'it names no request', envelope));
    // Copied: the chunk that it came in may be large.
    const kept = this.#requests.size === 1 ? envelope : { ...envelope, bytes: Buffer.from(bytes) };
    this.#unowned.add(this.#pendingIds(), (owner) => {
      const found = this.#requests.at(owner);
      if (found) this.#take(found, kept);
    });
  }

  #take(place: Place, envelope: Envelope): void {
    const { bytes, result, error } = envelope;
    const { pending } = place;
    this.#answered = Math.max(this.#answered, place.order);
    const why = replyFault(envelope);
    // The rows of a list are checked one by one.
    const isList = pending.plan.label === 'upstream-list' && envelope.fault !== undefined;
    if (why !== undefined && !isList) return this.failed(pending.id, unusableAnswer(this.#server, why, envelope));
    pending.answered = true;
    if (result.at >= 0) pending.settle({ kind: 'result', json: filledResult(pending.plan.method, envelope) });
    else pending.settle({ kind: 'error', json: bytes.subarray(error.at, error.end) });
  }

  #owner(bytes: Buffer, span: Span): Place | undefined {
    const number = replyNumber(bytes, span);
    return number === undefined ? undefined : this.#requests.at(number);
  }

  /**
   * Tells whether an error without an id answers a pending request. It may also answer a notification, as some servers
   * do, until a request that was sent after the last notification is answered.
   */
  #isAnswerOfPending(envelope: Envelope): boolean {
    return (this.#noticed === 0 || this.#answered > this.#noticed) && isNamelessError(envelope);
  }

  /** Sends a message that needs no answer. Drops it when it cannot be written: the server has failed already. */
  aside(frame: Buffer): void {
    this.#order += 1;
    this.#noticed = this.#order;
    const deadline = this.#runtime.deadline(ASIDE_MS);
    if (isRefusal(this.#transport.send(frame, undefined, deadline))) deadline[Symbol.dispose]();
  }
}

/** True for calls of users; the hub's own lists, pings and handshakes may be silent. */
export function isCall({ plan }: PendingRequest): boolean {
  return plan.budget.silenceMs !== undefined;
}

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
import { soleMember } from '../../protocol/sole-member.ts';
import { notificationFrame, replaceSpans, requestFrame } from '../../protocol/write.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { UpstreamReply } from '../call.ts';
import { notSentRefusal } from '../call-endings.ts';
import type { Transport } from '../transport/transport.ts';
import type { CorrelatorHandlers } from './correlator-handlers.ts';
import { unusableAnswer } from './invalid-answer.ts';
import { InvalidMessages } from './invalid-messages.ts';
import { NotificationRate } from './notification-rate.ts';
import { PendingRequest, type PendingRequestHandlers, type RequestOptions } from './pending-request.ts';
import { RequestTable } from './request-table.ts';
import { ServerRequests } from './server-requests.ts';

/** Longest time for which notifications and answers to a server wait to be written, ms. */
const ASIDE_MS = 5000;
const LISTS_CHANGED: ReadonlySet<string> = new Set(
  ['tools', 'prompts', 'resources'].map((kind) => `notifications/${kind}/list_changed`),
);
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
  readonly #notifications: NotificationRate;
  readonly #invalid: InvalidMessages;
  readonly #serverRequests: ServerRequests;
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
    this.#notifications = new NotificationRate(parts.runtime, parts.limits, parts.server);
    this.#invalid = new InvalidMessages(parts.runtime, parts.server);
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
      settled: (pending) => this.#requests.free(pending.id, pending.answered),
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
    const ended = plan.deadline.ended;
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
    const sent = this.#transport.send(frame, pending.id, pending.plan.deadline, pending.plan.share);
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
    else if (envelope.kind === 'notification') this.#notification(envelope, exchange);
    else if (!this.#serverRequests.take(envelope, exchange)) this.#strangers += 1;
  }

  /** An answer without a readable id came: if exactly one request is pending, it ends with this fault. */
  unreadable(fault: HubError): void {
    const only = this.#requests.only;
    if (only) this.failed(only.pending.id, fault);
    else this.#invalid.count('refused', fault.message);
  }

  /** Ends a request whose exchange has ended without an answer. */
  failed(id: number, fault: HubError): void {
    if (fault.code === 'upstream-invalid') this.#invalid.count('refused', fault.message);
    this.at(id)?.settle(new Refusal(fault.code, fault.message, fault.detail));
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
  }

  #reply(envelope: Envelope): void {
    const { bytes, id, result, error } = envelope;
    const place = this.#owner(bytes, id) ?? this.#onlyOne(envelope);
    if (!place) {
      this.#strangers += 1;
      return;
    }
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
   * Returns the only pending request, which an error without an id answers. It may also answer a notification, as some
   * servers do, until a request that was sent after the last notification is answered.
   */
  #onlyOne(envelope: Envelope): Place | undefined {
    const isCertain = this.#noticed === 0 || this.#answered > this.#noticed;
    return isCertain && isNamelessError(envelope) ? this.#requests.only : undefined;
  }

  #notification(envelope: Envelope, exchange: number | undefined): void {
    if (envelope.method === 'notifications/cancelled') this.#handlers.takenBack(envelope);
    else if (LISTS_CHANGED.has(envelope.method)) this.#handlers.listChanged(envelope.method);
    else if (!this.#notifications.allows(envelope.bytes.length)) this.#strangers += 1;
    else if (envelope.method === 'notifications/progress') this.#progress(envelope);
    else if (envelope.fault !== undefined) this.#unreadable(envelope.fault);
    else this.#handlers.notice(envelope, exchange);
  }

  #progress({ bytes, params, fault }: Envelope): void {
    const token = params.at < 0 ? params : soleMember(bytes, params, 'progressToken');
    if (token.at < 0) return;
    const pending = this.#owner(bytes, token)?.pending;
    if (!pending) {
      this.#strangers += 1;
      return;
    }
    pending.touch();
    const client = pending.plan.back.progressToken;
    if (fault !== undefined) return this.#unreadable(fault);
    if (client === undefined) return;
    const text = bytes.subarray(params.at, params.end);
    const at = token.at - params.at;
    pending.plan.back.notify(
      'notifications/progress',
      replaceSpans(text, [{ at, end: token.end - params.at, with: Buffer.from(client) }]),
    );
  }

  /** Reports an answer that no client could read. */
  #unreadable(fault: string): void {
    this.#strangers += 1;
    this.#invalid.count('refused', fault);
  }

  /** Sends a message that needs no answer. Drops it when it cannot be written: the server has failed already. */
  aside(frame: Buffer): void {
    this.#order += 1;
    this.#noticed = this.#order;
    const deadline = this.#runtime.deadline(ASIDE_MS);
    if (isRefusal(this.#transport.send(frame, undefined, deadline))) deadline[Symbol.dispose]();
  }
}

/** True for calls of users; the hub's own lists, pings and handshakes have no watch. */
export function isCall({ plan }: PendingRequest): boolean {
  return plan.silence !== undefined;
}

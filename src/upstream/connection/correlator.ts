/**
 * Requests in flight on one connection, and whose message is whose.
 * Promises: ids are the hub's own and never come again, so that late, doubled and foreign answers find nobody; progress reaches only the call
 * that it belongs to, with the client's own token; a flood of questions is dropped; every place is free when its call has settled.
 * Does not: connect, restart or judge the server (`link.ts`), or ask users (`client-questions.ts`).
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

/** Notifications and answers of ours to a server may wait this long to be written. */
const ASIDE_MS = 5000;
const LISTS_CHANGED: ReadonlySet<string> = new Set(
  ['tools', 'prompts', 'resources'].map((kind) => `notifications/${kind}/list_changed`),
);
interface Place {
  readonly pending: PendingRequest;
  /** Makes the params again, for a request that is sent once more. */
  readonly params: (id: number) => Buffer | undefined;
  /** Place in the order of what was sent. */
  readonly order: number;
}

export class Correlator {
  readonly #runtime: Runtime;
  readonly #server: string;
  readonly #transport: Transport;
  readonly #requests: RequestTable<Place>;
  readonly #handlers: CorrelatorHandlers;
  readonly #flightEars: PendingRequestHandlers;
  readonly #notifications: NotificationRate;
  readonly #invalid: InvalidMessages;
  readonly #serverRequests: ServerRequests;
  #order = 0;
  /** Place in that order of the last message that has no answer, and of the newest request that was answered. */
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
    this.#flightEars = {
      silent: (pending) => this.#handlers.silent(pending),
      tooSilent: (pending, silentMs) => this.#handlers.tooSilent(pending, silentMs),
      ended: (pending) => this.#handlers.ended(pending),
      settled: (pending) => this.#requests.free(pending.id, pending.answered),
    };
  }

  get inFlight(): number {
    return this.#requests.size;
  }

  /** Ids of this connection's requests. */
  get ids(): Pick<RequestTable<unknown>, 'takeId' | 'startFrom'> {
    return this.#requests;
  }

  /** True while a call is in flight; each has its own watch (lists, pings and handshakes have none). */
  get hasCalls(): boolean {
    return this.newest(isCall) !== undefined;
  }

  /** The newest request in flight of those that fit. */
  newest(fits: (pending: PendingRequest) => boolean): PendingRequest | undefined {
    let newest: Place | undefined;
    for (const place of this.#requests.values())
      if (fits(place.pending) && (newest === undefined || place.order > newest.order)) newest = place;
    return newest?.pending;
  }

  /** Messages that nobody waited for: late, doubled or foreign answers and progress, and questions beyond the rate. */
  get strangers(): number {
    return this.#strangers;
  }

  /** Sends a request. `params` gets the id, which is also its progress token. A refusal that is not a promise = it was not sent. */
  ask(
    plan: RequestOptions,
    params: (id: number) => Buffer | undefined,
  ): Outcome<UpstreamReply> | Promise<Outcome<UpstreamReply>> {
    const ended = plan.deadline.ended;
    if (ended !== undefined) return notSentRefusal(plan, ended);
    const nowMs = this.#runtime.clock.nowMs();
    this.#order += 1;
    const id = this.#requests.add((own) => ({
      ...{ pending: new PendingRequest(own, plan, this.#flightEars, nowMs), params, order: this.#order },
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
        // When it had not begun there was nothing to settle.
        this.#requests.free(id, true);
        resolve(refusal);
      }
    });
  }

  /** The table of waits is full, or a defect of ours. */
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

  /** Closes the request at the wire, and tells the server that nobody waits for it any more, unless the request never left. */
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

  /** A message that would have been an answer cannot be read, nor its id: if one request is in flight, it is over. */
  unreadable(fault: HubError): void {
    const only = this.#requests.only;
    if (only) this.failed(only.pending.id, fault);
    else this.#invalid.count('refused', fault.message);
  }

  /** The exchange of this request is over without an answer. */
  failed(id: number, fault: HubError): void {
    if (fault.code === 'upstream-invalid') this.#invalid.count('refused', fault.message);
    this.at(id)?.settle(new Refusal(fault.code, fault.message, fault.detail));
  }

  /** Everything that is still in flight ends with this. */
  failAll(refusal: (pending: PendingRequest) => Refusal): void {
    for (const { pending } of [...this.#requests.values()]) pending.settle(refusal(pending));
  }

  /** A sign of life of one call, or of the server as a whole. `nowMs`: where it is known. */
  alive(id: number | undefined, nowMs?: number): void {
    if (id === undefined) for (const { pending } of this.#requests.values()) pending.touch(nowMs);
    else this.at(id)?.touch(nowMs);
  }

  /** What the server calls its question with this id. */
  questionKey(idRaw: string): string | undefined {
    return this.#transport.questionKey?.(idRaw);
  }

  /** The request with this id, while it is in flight. */
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
   * The request that an error without an id is the answer to: the only one in flight. It may as well be the answer to a notification, which some
   * servers give, until a request that was sent after the last one is answered.
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

  /** No client could read it. */
  #unreadable(fault: string): void {
    this.#strangers += 1;
    this.#invalid.count('refused', fault);
  }

  /** A message of ours that nobody waits for. What cannot be written is dropped: the server is in trouble already. */
  aside(frame: Buffer): void {
    this.#order += 1;
    this.#noticed = this.#order;
    const deadline = this.#runtime.deadline(ASIDE_MS);
    if (isRefusal(this.#transport.send(frame, undefined, deadline))) deadline[Symbol.dispose]();
  }
}

/** True for the calls of users; lists, pings and handshakes of the hub have no watch of their own. */
export function isCall({ plan }: PendingRequest): boolean {
  return plan.silence !== undefined;
}

/**
 * Pending requests on one connection: sends, repeats, cancels and ends them. `reply-matcher.ts` finds their answers.
 * Guarantees: ids are the hub's own and not reused early; a request settles once, and frees its slot.
 */
import { HubError } from '../../model/errors.ts';
import { isRefusal, type Outcome, Refusal } from '../../model/outcome.ts';
import { replyNumber } from '../../protocol/answer.ts';
import { jsonBytes } from '../../protocol/json-text.ts';
import type { Span } from '../../protocol/message.ts';
import { notificationFrame, requestFrame } from '../../protocol/write.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { UpstreamReply } from '../call.ts';
import { endedRefusal, notSentRefusal } from '../call-endings.ts';
import type { Transport } from '../transport/transport.ts';
import type { ConnectionReports } from './connection-parts.ts';
import type { InvalidMessages } from './invalid-messages.ts';
import type { NotificationRate } from './notification-rate.ts';
import { PendingRequest, type PendingRequestHandlers, type RequestOptions } from './pending-request.ts';
import { RequestTable } from './request-table.ts';
import type { UnownedAnswers } from './unowned-answers.ts';

/** Longest time for which notifications and answers to a server wait to be written, ms. */
const ASIDE_MS = 5000;

/** One request that was sent. */
export interface RequestEntry {
  readonly pending: PendingRequest;
  /** Builds the params again, for a request that is sent once more. */
  readonly params: (id: number) => Buffer | undefined;
  /** Position in the order of sent messages. */
  readonly order: number;
}

/** Creates the table of the pending requests of one connection. */
export function requestTable({ ceilings }: Pick<Runtime, 'ceilings'>): RequestTable<RequestEntry> {
  return new RequestTable('upstream.in-flight', ceilings);
}

export interface CorrelatorParts {
  readonly runtime: Runtime;
  readonly server: string;
  readonly transport: Transport;
  readonly requests: RequestTable<RequestEntry>;
  readonly unowned: UnownedAnswers;
  readonly invalid: InvalidMessages;
  /** Each request that is sent allows more notifications. */
  readonly rate: Pick<NotificationRate, 'earn'>;
  readonly owner: Pick<ConnectionReports, 'mayCancel'>;
}

export class Correlator {
  readonly #runtime: Runtime;
  readonly #server: string;
  readonly #transport: Transport;
  readonly #requests: RequestTable<RequestEntry>;
  readonly #owner: Pick<ConnectionReports, 'mayCancel'>;
  readonly #requestHandlers: PendingRequestHandlers;
  readonly #rate: Pick<NotificationRate, 'earn'>;
  readonly #invalid: InvalidMessages;
  readonly #unowned: UnownedAnswers;
  #order = 0;
  #lastRequest = 0;
  #lastAside = 0;
  #unmatched = 0;
  /** All requests were ended. */
  #isOver = false;

  constructor({ runtime, server, transport, requests, unowned, invalid, rate, owner }: CorrelatorParts) {
    this.#runtime = runtime;
    this.#server = server;
    this.#transport = transport;
    this.#requests = requests;
    this.#invalid = invalid;
    this.#rate = rate;
    this.#owner = owner;
    this.#unowned = unowned;
    this.#requestHandlers = {
      ended: (pending) => this.#ended(pending),
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
    let newest: RequestEntry | undefined;
    for (const place of this.#requests.values())
      if (fits(place.pending) && (newest === undefined || place.order > newest.order)) newest = place;
    return newest?.pending;
  }

  /** Messages that belonged to no pending request (late, duplicate or foreign answers, progress), or above the rate. */
  get unmatched(): number {
    return this.#unmatched;
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
    this.#lastRequest = this.#order;
    const id = this.#requests.add((own) => {
      return { pending: new PendingRequest(own, plan, this.#requestHandlers, nowMs), params, order: this.#order };
    });
    const pending = this.at(id);
    if (!pending) return new Refusal('server-busy', undefined, { phase: 'call', outcome: 'not-executed' });
    this.#rate.earn();
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
    const entry = this.#requests.at(pending.id);
    if (pending.over || entry?.pending !== pending) return;
    pending.resent = true;
    pending.touch();
    this.#send(pending, requestFrame(pending.id, pending.plan.method, entry.params(pending.id)));
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
    if (!mayHaveLeft || pending.plan.method === 'initialize' || !this.#owner.mayCancel()) return;
    this.notify('notifications/cancelled', jsonBytes({ requestId: pending.id, reason }));
  }

  /** Ends a request whose exchange has ended without an answer. */
  failed(id: number, fault: HubError): void {
    if (fault.code === 'upstream-invalid') this.#invalid.count('refused', fault.message);
    this.fail(id, fault);
  }

  /** Ends a request with this fault. */
  fail(id: number, fault: HubError): void {
    const pending = this.at(id);
    if (pending === undefined) return;
    pending.failed = true;
    pending.settle(new Refusal(fault.code, fault.message, fault.detail));
  }

  /** Tells whether the server has to answer a pending request now. */
  isOwed(id: number): boolean {
    return this.#transport.isOwed?.(id) !== false;
  }

  /** Returns the entry of a request that is ended by an answer without an id, and the text of its error to pass on. */
  unowned(id: number, error: Buffer): { readonly entry: RequestEntry; readonly error: Buffer } | undefined {
    const text = this.#transport.unowned?.(id, error) ?? error;
    const entry = this.#requests.at(id);
    return entry && { entry, error: text };
  }

  /** A call has reported progress: no answer that came before is for it. */
  progressed(id: number): void {
    this.at(id)?.touch();
    this.#unowned.alive(id);
  }

  /** Ends every pending request: the connection is lost. No request is cancelled from now on. */
  failAll(refusal: (pending: PendingRequest) => Refusal): void {
    this.#isOver = true;
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

  /** A caller may have made the server write an answer that names no request. */
  get mayQuoteUnowned(): boolean {
    return this.#transport.mayQuoteUnowned === true;
  }

  /** Position of the last request in the order of sent messages. */
  get lastRequest(): number {
    return this.#lastRequest;
  }

  /** Position of the last message without an answer in the order of sent messages; 0 when there was none. */
  get lastAside(): number {
    return this.#lastAside;
  }

  [Symbol.dispose](): void {
    this.#requests[Symbol.dispose]();
    this.#unowned[Symbol.dispose]();
  }

  /** Returns the pending request with the id, or progress token, at this span. */
  ownerOf(bytes: Buffer, span: Span): PendingRequest | undefined {
    return this.entryAt(bytes, span)?.pending;
  }

  /** Counts a message that belongs to no pending request, or is above the rate. */
  countUnmatched(): void {
    this.#unmatched += 1;
  }

  /** The deadline of a request has ended. */
  #ended(pending: PendingRequest): void {
    const reason = pending.plan.budget.deadline.ended ?? 'cancelled';
    if (!this.#isOver) this.cancel(pending, reason === 'time-up' ? 'timeout' : 'cancelled by the client');
    const waitedMs = Math.round(this.#runtime.clock.nowMs() - pending.sentMs);
    pending.settle(endedRefusal(this.#server, pending.plan, reason, waitedMs));
  }

  /** Returns the entry of the request with the id at this span. */
  entryAt(bytes: Buffer, span: Span): RequestEntry | undefined {
    const number = replyNumber(bytes, span);
    return number === undefined ? undefined : this.#requests.at(number);
  }

  /** Sends a message that needs no answer. Drops it when it cannot be written: the server has failed already. */
  aside(frame: Buffer): void {
    this.#order += 1;
    this.#lastAside = this.#order;
    const deadline = this.#runtime.deadline(ASIDE_MS);
    if (isRefusal(this.#transport.send(frame, undefined, deadline))) deadline[Symbol.dispose]();
  }
}

/** True for calls of users; the hub's own lists, pings and handshakes may be silent. */
export function isCall({ plan }: PendingRequest): boolean {
  return plan.budget.silenceMs !== undefined;
}

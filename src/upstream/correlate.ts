/**
 * Requests in flight on one connection, and whose message is whose.
 * Promises: ids are the hub's own and never come again, so that late, doubled and foreign answers find nobody; progress reaches only the call
 * that it belongs to, with the client's own token; a flood of questions is dropped; every place is free when its call has settled.
 * Does not: connect, restart or judge the server (`link.ts`), or ask users (`_asked.ts`).
 */
import type { Limits } from '../config/limits.ts';
import { CappedSlots } from '../kernel/capped.ts';
import { HubError } from '../kernel/errors.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { isRefusal, type Outcome, Refusal } from '../kernel/outcome.ts';
import { replyFault, replyNumber } from '../protocol/answer.ts';
import { filledResult } from '../protocol/empty-result.ts';
import { jsonBytes } from '../protocol/json-text.ts';
import type { Envelope } from '../protocol/message.ts';
import { soleMember } from '../protocol/sole-member.ts';
import { errorFrame, notificationFrame, replaceSpans, requestFrame, resultFrame } from '../protocol/write.ts';
import { TokenBucket } from '../resilience/token-bucket.ts';
import type { CorrelatorEars } from './_correlator-ears.ts';
import { notSentRefusal } from './_endings.ts';
import { invalidAnswer } from './_invalid-answer.ts';
import { InvalidMessages } from './_invalid-messages.ts';
import { NotificationRate } from './_notification-rate.ts';
import type { UpstreamReply } from './call.ts';
import { Flight, type FlightEars, type FlightPlan } from './flight.ts';
import type { Transport } from './transport.ts';

/** Ids are `use × SLOTS + slot`: the slot is found without a map. */
const SLOTS = 8192;
/** Notifications and answers of ours to a server may wait this long to be written. */
const ASIDE_MS = 5000;
/** Questions of one server that are answered a second; what is more is dropped. */
const QUESTIONS_PER_SECOND = 50;
const QUOTE = 0x22;
const LISTS_CHANGED: ReadonlySet<string> = new Set(
  ['tools', 'prompts', 'resources'].map((kind) => `notifications/${kind}/list_changed`),
);

interface Place {
  readonly flight: Flight;
  /** Makes the params again, for a request that is sent once more. */
  readonly params: (id: number) => Buffer | undefined;
}

export class Correlator {
  readonly #kernel: Kernel;
  readonly #server: string;
  readonly #transport: Transport;
  readonly #slots: CappedSlots<Place>;
  readonly #ears: CorrelatorEars;
  readonly #flightEars: FlightEars;
  readonly #notifications: NotificationRate;
  readonly #invalid: InvalidMessages;
  readonly #questions: TokenBucket;
  #uses = 0;
  #strangers = 0;

  constructor(parts: {
    kernel: Kernel;
    limits: Pick<Limits, 'serverNotificationsPerSecond' | 'noticeBytes'>;
    server: string;
    transport: Transport;
    ears: CorrelatorEars;
  }) {
    this.#kernel = parts.kernel;
    this.#server = parts.server;
    this.#transport = parts.transport;
    this.#ears = parts.ears;
    this.#slots = new CappedSlots('upstream.in-flight', SLOTS, parts.kernel.ceilings);
    this.#notifications = new NotificationRate(parts.kernel, parts.limits, parts.server);
    this.#invalid = new InvalidMessages(parts.kernel, parts.server);
    this.#questions = new TokenBucket({
      perSecond: QUESTIONS_PER_SECOND,
      burst: QUESTIONS_PER_SECOND,
      nowMs: parts.kernel.clock.nowMs(),
    });
    this.#flightEars = {
      silent: (flight) => this.#ears.silent(flight),
      tooSilent: (flight, silentMs) => this.#ears.tooSilent(flight, silentMs),
      ended: (flight) => this.#ears.ended(flight),
      settled: (flight) => this.#slots.free(flight.id % SLOTS),
    };
  }

  get inFlight(): number {
    return this.#slots.size;
  }

  /** True while a call is in flight; each has its own watch (lists, pings and handshakes have none). */
  get hasCalls(): boolean {
    for (const place of this.#slots.values()) if (place !== NOBODY && place.flight.plan.silence) return true;
    return false;
  }

  /** The newest call whose user can be asked or told. */
  newestHeard(): Flight | undefined {
    let newest: Flight | undefined;
    for (const place of this.#slots.values()) {
      if (place === NOBODY || !place.flight.plan.back.ask) continue;
      if (newest === undefined || place.flight.id > newest.id) newest = place.flight;
    }
    return newest;
  }

  /** Messages that nobody waited for: late, doubled or foreign answers and progress, and questions beyond the rate. */
  get strangers(): number {
    return this.#strangers;
  }

  /** Sends a request. `params` gets the id, which is also its progress token. A refusal that is not a promise = it was not sent. */
  ask(
    plan: FlightPlan,
    params: (id: number) => Buffer | undefined,
  ): Outcome<UpstreamReply> | Promise<Outcome<UpstreamReply>> {
    const ended = plan.deadline.ended;
    if (ended !== undefined) return notSentRefusal(plan, ended);
    // The place is taken before its number, and with it the id, is known.
    const slot = this.#slots.add(NOBODY);
    if (slot < 0) return new Refusal('server-busy', undefined, { phase: 'call', outcome: 'not-executed' });
    this.#uses += 1;
    this.#notifications.earn();
    const flight = new Flight(this.#uses * SLOTS + slot, plan, this.#flightEars, this.#kernel.clock.nowMs());
    this.#slots.replace(slot, { flight, params });
    return new Promise((resolve) => {
      try {
        flight.begin(this.#kernel, resolve);
        this.#send(flight, requestFrame(flight.id, plan.method, params(flight.id)));
      } catch (fault) {
        const refusal = this.#broken(fault);
        flight.settle(refusal);
        // When it had not begun there was nothing to settle.
        this.#slots.free(slot);
        resolve(refusal);
      }
    });
  }

  /** The table of waits is full, or a defect of ours. */
  #broken(fault: unknown): Refusal {
    if (fault instanceof HubError) return new Refusal(fault.code, fault.message, fault.detail);
    this.#kernel.bus.publish({ type: 'task-faulted', task: 'upstream request', fault });
    return new Refusal('internal');
  }

  /** Sends a request again that was not executed. */
  again(flight: Flight): void {
    const place = this.#slots.at(flight.id % SLOTS);
    if (flight.over || place?.flight !== flight) return;
    flight.resent = true;
    flight.touch();
    this.#send(flight, requestFrame(flight.id, flight.plan.method, place.params(flight.id)));
  }

  #send(flight: Flight, frame: Buffer): void {
    const sent = this.#transport.send(frame, flight.id, flight.plan.deadline, flight.plan.share);
    if (isRefusal(sent)) flight.settle(sent);
  }

  notify(method: string, params: Buffer | undefined): void {
    this.aside(notificationFrame(method, params));
  }

  /** Tells the server that nobody waits for this one any more, and closes its request at the wire. */
  cancel(flight: Flight, reason: string): void {
    this.#transport.abort(flight.id);
    // initialize is never cancelled (specification, cancellation).
    if (flight.plan.method === 'initialize') return;
    this.notify('notifications/cancelled', jsonBytes({ requestId: flight.id, reason }));
  }

  message(envelope: Envelope, exchange: number | undefined, nowMs?: number): void {
    if (exchange !== undefined) this.at(exchange)?.touch(nowMs);
    if (envelope.repaired !== undefined) this.#invalid.count('repaired', envelope.repaired);
    if (envelope.kind === 'reply') this.#reply(envelope);
    else if (envelope.kind === 'notification') this.#notification(envelope, exchange);
    else this.#question(envelope, exchange);
  }

  /** The exchange of this request is over without an answer. */
  failed(id: number, fault: HubError): void {
    if (fault.code === 'upstream-invalid') this.#invalid.count('refused', fault.message);
    this.at(id)?.settle(new Refusal(fault.code, fault.message, fault.detail));
  }

  /** Everything that is still in flight ends with this. */
  failAll(refusal: (flight: Flight) => Refusal): void {
    for (const { flight } of [...this.#slots.values()]) flight.settle(refusal(flight));
  }

  /** A sign of life of one call, or of the server as a whole. `nowMs`: where it is known. */
  alive(id: number | undefined, nowMs?: number): void {
    if (id === undefined) for (const { flight } of this.#slots.values()) flight.touch(nowMs);
    else this.at(id)?.touch(nowMs);
  }

  /** What the server calls its question with this id. */
  questionKey(idRaw: string): string | undefined {
    return this.#transport.questionKey?.(idRaw);
  }

  /** The request with this id, while it is in flight. */
  at(id: number): Flight | undefined {
    const place = this.#slots.at(id % SLOTS);
    return place !== undefined && place !== NOBODY && place.flight.id === id ? place.flight : undefined;
  }

  [Symbol.dispose](): void {
    this.#slots[Symbol.dispose]();
  }

  #reply(envelope: Envelope): void {
    const { bytes, id, result, error } = envelope;
    const flight = this.#owner(bytes, id.at, id.end);
    if (!flight) return this.#misaddressed(envelope);
    const why = replyFault(envelope);
    // The rows of a list are checked one by one.
    const isList = flight.plan.label === 'upstream-list' && envelope.fault !== undefined;
    if (why !== undefined && !isList) return this.failed(flight.id, invalidAnswer(this.#server, why));
    if (result.at >= 0) flight.settle({ kind: 'result', json: filledResult(flight.plan.method, envelope) });
    else flight.settle({ kind: 'error', json: bytes.subarray(error.at, error.end) });
  }

  /** The right number as a string: no request has such an id, and the one that is meant would wait in vain. */
  #misaddressed({ bytes, id }: Envelope): void {
    const number = replyNumber(bytes, id);
    // The error is made only where there is such a request: it costs more than all the rest, and these may come by the thousand.
    if (number !== undefined && this.at(number)) this.failed(number, invalidAnswer(this.#server, 'its id is a string'));
  }

  #owner(bytes: Buffer, at: number, end: number): Flight | undefined {
    // Ours are plain numbers; a string that looks like one is not ours.
    const number = Number(bytes.toString('latin1', at, end));
    const flight = Number.isSafeInteger(number) ? this.at(number) : undefined;
    if (!flight) this.#strangers += 1;
    return flight;
  }

  #notification(envelope: Envelope, exchange: number | undefined): void {
    if (envelope.method === 'notifications/cancelled') this.#ears.takenBack(envelope);
    else if (LISTS_CHANGED.has(envelope.method)) this.#ears.listChanged(envelope.method);
    else if (!this.#notifications.allows(envelope.bytes.length)) this.#strangers += 1;
    else if (envelope.method === 'notifications/progress') this.#progress(envelope);
    else if (envelope.fault !== undefined) this.#unreadable(envelope.fault);
    else this.#ears.notice(envelope, exchange);
  }

  #progress({ bytes, params, fault }: Envelope): void {
    const token = params.at < 0 ? params : soleMember(bytes, params, 'progressToken');
    if (token.at < 0) return;
    const flight = this.#owner(bytes, token.at, token.end);
    if (!flight) return;
    flight.touch();
    const client = flight.plan.back.progressToken;
    if (fault !== undefined) return this.#unreadable(fault);
    if (client === undefined) return;
    const text = bytes.subarray(params.at, params.end);
    const at = token.at - params.at;
    flight.plan.back.notify(
      'notifications/progress',
      replaceSpans(text, [{ at, end: token.end - params.at, with: Buffer.from(client) }]),
    );
  }

  /** No client could read it. */
  #unreadable(fault: string): void {
    this.#strangers += 1;
    this.#invalid.count('refused', fault);
  }

  #question(envelope: Envelope, exchange: number | undefined): void {
    const { bytes, id, method, fault } = envelope;
    if (!this.#questions.take(this.#kernel.clock.nowMs())) {
      this.#strangers += 1;
      return;
    }
    const idRaw = bytes.subarray(id.at, id.end);
    if (fault !== undefined) {
      this.#unreadable(fault);
      // An id that is a string may be what is invalid.
      if (bytes[id.at] !== QUOTE)
        this.aside(errorFrame(idRaw, { code: -32700, message: `The request is not valid JSON: ${fault}.` }));
      return;
    }
    if (method === 'ping') this.aside(resultFrame(idRaw, Buffer.from('{}')));
    else if (!this.#ears.question(envelope, exchange))
      this.aside(
        errorFrame(idRaw, { code: -32601, message: `Not served on a shared connection: ${method.slice(0, 60)}` }),
      );
  }

  /** A message of ours that nobody waits for. What cannot be written is dropped: the server is in trouble already. */
  aside(frame: Buffer): void {
    const deadline = this.#kernel.deadline(ASIDE_MS);
    if (isRefusal(this.#transport.send(frame, undefined, deadline))) deadline[Symbol.dispose]();
  }
}

/** Holds a slot until its flight exists; never asked anything. */
const NOBODY = Object.freeze({}) as Place;

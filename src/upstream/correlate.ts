/**
 * Requests in flight on one connection, and whose message is whose.
 * Promises: ids are the hub's own and never come again, so that late, doubled and foreign answers find nobody; progress reaches only the call
 * that it belongs to, with the client's own token; the server's questions are answered, never passed on (a shared link declares no
 * capabilities); every place is free when its call has settled.
 * Does not: connect, restart or judge the server (`link.ts`).
 */
import { CappedSlots } from '../kernel/capped.ts';
import type { HubError } from '../kernel/errors.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { isRefusal, type Outcome, Refusal } from '../kernel/outcome.ts';
import type { Envelope } from '../protocol/message.ts';
import { memberSpan } from '../protocol/scan.ts';
import { errorFrame, notificationFrame, replaceSpans, requestFrame, resultFrame } from '../protocol/write.ts';
import type { UpstreamReply } from './call.ts';
import { Flight, type FlightEars, type FlightPlan } from './flight.ts';
import type { Transport } from './transport.ts';

/** Ids are `use × SLOTS + slot`: the slot is found without a map. */
const SLOTS = 8192;
/** Notifications and answers of ours to a server may wait this long to be written. */
const ASIDE_MS = 5000;
const EMPTY = Buffer.from('{}');

export interface CorrelatorEars {
  /** Nobody has shown life in this call for a while. */
  silent(flight: Flight): void;
  tooSilent(flight: Flight, silentMs: number): void;
  ended(flight: Flight): void;
  /** The answer to a request that has been given up. */
  lateReply(id: number): void;
  listChanged(): void;
}

export class Correlator {
  readonly #kernel: Kernel;
  readonly #transport: Transport;
  readonly #slots: CappedSlots<Flight>;
  readonly #ears: CorrelatorEars;
  readonly #flightEars: FlightEars;
  #uses = 0;

  constructor(parts: { kernel: Kernel; transport: Transport; ears: CorrelatorEars }) {
    this.#kernel = parts.kernel;
    this.#transport = parts.transport;
    this.#ears = parts.ears;
    this.#slots = new CappedSlots('upstream.in-flight', SLOTS, parts.kernel.ceilings);
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

  flights(): IterableIterator<Flight> {
    return this.#slots.values();
  }

  /** Sends a request. `params` gets the id, which is also its progress token. A refusal = it was not sent. `started` hears the id. */
  ask(
    plan: FlightPlan,
    params: (id: number) => Buffer | undefined,
    started?: (flight: Flight) => void,
  ): Outcome<UpstreamReply> | Promise<Outcome<UpstreamReply>> {
    if (this.#slots.size >= SLOTS) return new Refusal('server-busy');
    return new Promise((resolve) => {
      const slot = this.#slots.add(PLACE);
      this.#uses += 1;
      const id = this.#uses * SLOTS + slot;
      const flight = new Flight(id, plan, this.#kernel, this.#flightEars, resolve);
      this.#slots.replace(slot, flight);
      // A deadline that had ended already has settled it.
      if (flight.over) return;
      started?.(flight);
      flight.frame = requestFrame(id, plan.method, params(id));
      this.#send(flight, flight.frame);
    });
  }

  /** Sends a request again that was not executed. */
  again(flight: Flight): void {
    flight.resent = true;
    if (flight.frame && !flight.over) this.#send(flight, flight.frame);
  }

  #send(flight: Flight, frame: Buffer): void {
    const sent = this.#transport.send(frame, flight.id, flight.plan.deadline);
    if (isRefusal(sent)) flight.settle(sent);
  }

  notify(method: string, params: Buffer | undefined): void {
    this.#aside(notificationFrame(method, params));
  }

  /** Tells the server that nobody waits for this one any more, and closes its request at the wire. */
  cancel(flight: Flight, reason: string): void {
    this.#transport.abort(flight.id);
    // initialize is never cancelled (specification, cancellation).
    if (flight.plan.method === 'initialize') return;
    this.notify('notifications/cancelled', Buffer.from(JSON.stringify({ requestId: flight.id, reason })));
  }

  message(envelope: Envelope, exchange: number | undefined): void {
    if (exchange !== undefined) this.at(exchange)?.touch();
    if (envelope.kind === 'reply') this.#reply(envelope);
    else if (envelope.kind === 'notification') this.#notification(envelope);
    else this.#question(envelope);
  }

  /** The exchange of this request is over without an answer. */
  failed(id: number, fault: HubError): void {
    this.at(id)?.settle(new Refusal(fault.code, fault.message, fault.detail));
  }

  /** Everything that is still in flight ends with this. */
  failAll(refusal: (flight: Flight) => Refusal): void {
    for (const flight of [...this.#slots.values()]) flight.settle(refusal(flight));
  }

  /** A sign of life of one call, or of the server as a whole. */
  alive(id: number | undefined): void {
    if (id === undefined) for (const flight of this.#slots.values()) flight.touch();
    else this.at(id)?.touch();
  }

  at(id: number): Flight | undefined {
    const flight = this.#slots.at(id % SLOTS);
    return flight?.id === id ? flight : undefined;
  }

  [Symbol.dispose](): void {
    this.#slots[Symbol.dispose]();
  }

  #reply(envelope: Envelope): void {
    const { bytes, id, result, error } = envelope;
    const number = Number(bytes.toString('latin1', id.at, id.end));
    const flight = Number.isSafeInteger(number) ? this.at(number) : undefined;
    if (!flight) {
      if (Number.isSafeInteger(number)) this.#ears.lateReply(number);
      return;
    }
    const span = result.at >= 0 ? result : error;
    flight.settle({ kind: result.at >= 0 ? 'result' : 'error', json: bytes.subarray(span.at, span.end) });
  }

  #notification(envelope: Envelope): void {
    if (envelope.method === 'notifications/progress') this.#progress(envelope);
    else if (envelope.method === 'notifications/tools/list_changed') this.#ears.listChanged();
  }

  #progress({ bytes, params }: Envelope): void {
    const token = memberSpan(bytes, params, 'progressToken');
    if (token.at < 0) return;
    const flight = this.at(Number(bytes.toString('latin1', token.at, token.end)));
    if (!flight) return;
    flight.touch();
    const client = flight.plan.back.progressToken;
    if (client === undefined) return;
    const text = bytes.subarray(params.at, params.end);
    const at = token.at - params.at;
    flight.plan.back.notify(
      'notifications/progress',
      replaceSpans(text, [{ at, end: token.end - params.at, with: Buffer.from(client) }]),
    );
  }

  #question({ bytes, id, method }: Envelope): void {
    const idRaw = bytes.subarray(id.at, id.end);
    if (method === 'ping') this.#aside(resultFrame(idRaw, EMPTY));
    else
      this.#aside(
        errorFrame(idRaw, { code: -32601, message: `Not served on a shared connection: ${method.slice(0, 60)}` }),
      );
  }

  /** A message of ours that nobody waits for. What cannot be written is dropped: the server is in trouble already. */
  #aside(frame: Buffer): void {
    const deadline = this.#kernel.deadline(ASIDE_MS);
    this.#transport.send(frame, undefined, deadline);
  }
}

/** Holds a slot until its flight exists; never asked anything. */
const PLACE = Object.freeze({}) as Flight;

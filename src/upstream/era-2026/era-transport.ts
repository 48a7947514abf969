/**
 * A transport whose server may use the stateless era (2026-07-28): adds what requests need there and translates
 * answers, so that other modules handle one era. A request in a result goes to the user, or ends as an error if no user
 * can be asked. A call is cancelled by closing its request (HTTP) or by a notification (stdio).
 */

import { isRefusal, type Outcome } from '../../model/outcome.ts';
import { isNamelessError } from '../../protocol/answer.ts';
import { filledResult } from '../../protocol/empty-result.ts';
import { capabilitiesFrom } from '../../protocol/era-2025/initialize.ts';
import {
  declaresSubscribe,
  errorCode,
  neutralError,
  neutralResult,
  requestMeta,
  resultType,
  withRequestMeta,
} from '../../protocol/era-2026/outgoing.ts';
import { VERSION_2026 } from '../../protocol/era-2026/versions.ts';
import { jsonBytes } from '../../protocol/json-text.ts';
import type { Envelope, Span } from '../../protocol/message.ts';
import { scanEnvelope } from '../../protocol/scan.ts';
import { errorFrame, notificationFrame, rawErrorFrame, requestFrame, resultFrame } from '../../protocol/write.ts';
import type { Deadline } from '../../runtime/deadline.ts';
import { unusableAnswer } from '../connection/invalid-answer.ts';
import type { SessionHold, Transport, TransportEvents } from '../transport/transport.ts';
import type { EraOptions, EraParts } from './era-parts.ts';
import {
  ASKS,
  answerFault,
  asksBack,
  endFrame,
  envelopeOf,
  SCAN,
  translateNotification,
  withRepair,
} from './era-translation.ts';
import { HeaderRetries } from './header-retries.ts';
import { type InputRetry, InputRounds } from './input-rounds.ts';
import { type SentRequest, SentRequests } from './sent-requests.ts';

/** Methods that are no requests in this era. */
const SUBSCRIPTIONS: ReadonlySet<string> = new Set(['resources/subscribe', 'resources/unsubscribe']);
const EMPTY = Buffer.from('{}');
const HEADER_MISMATCH = -32020;

/** Returns the transport of one connection, for the era that its server turns out to use. */
export function inEras(parts: EraOptions, events: TransportEvents): Transport {
  const { runtime, spec, version, clientContext, makeTransport, toolHeaders, preferencesChanged, nextId } = parts;
  return new EraTransport({
    server: spec.slug,
    make: (own) => makeTransport(spec, own),
    events,
    version,
    capabilities: capabilitiesFrom(clientContext.capabilityBits),
    logLevel: () => clientContext.logLevel(),
    declared: (tool) => toolHeaders.of(tool),
    repeats: new HeaderRetries(runtime.timers, toolHeaders),
    preferencesChanged,
    nextId,
    closes: spec.transport.kind !== 'stdio',
  });
}

class EraTransport implements Transport {
  readonly #parts: EraParts;
  readonly #inner: Transport & { readonly pid?: number | undefined };
  readonly stderrTail = (): readonly string[] => this.#inner.stderrTail();
  readonly signs = (): readonly string[] => this.#inner.signs?.() ?? [];
  readonly explained = async (fault: unknown, deadline: Deadline): Promise<unknown> =>
    (await this.#inner.explained?.(fault, deadline)) ?? fault;
  #stateless = false;
  readonly #sent: SentRequests;
  readonly #rounds = new InputRounds();
  /** It reports changed resources. */
  #subscribes = false;
  readonly start = (deadline: Deadline): Promise<void> => this.#inner.start(deadline);
  readonly questionKey = (idRaw: string): string | undefined => this.#rounds.keyOf(idRaw);
  readonly cpuMs = (): number | undefined => this.#inner.cpuMs();
  readonly cpuReadMs = (): number | undefined => this.#inner.cpuReadMs();
  /** A call whose user is asked has been answered by the server. */
  readonly isOwed = (id: number): boolean =>
    !this.#stateless || this.#sent.methodOf(this.#sent.wireOf(id)) !== undefined;
  readonly forgetSession = (): void => this.#inner.forgetSession();
  readonly announce = (version: string | undefined): void => this.#inner.announce?.(version);

  constructor(parts: EraParts) {
    this.#parts = parts;
    this.#sent = new SentRequests(parts.nextId);
    const { events } = parts;
    this.#inner = parts.make({
      ...events,
      message: (envelope, exchange) => {
        // The connection decides to which request an error without an id belongs.
        const isTranslated = this.#stateless && !isNamelessError(envelope);
        const heard = isTranslated ? this.#understood(envelope) : envelope;
        const told = heard && withRepair(heard, envelope);
        if (told) events.message(told, exchange === undefined ? undefined : this.#sent.idOf(exchange));
      },
      failed: (wire, fault) => {
        const id = this.#sent.idOf(wire);
        this.#forget(id);
        events.failed(id, fault);
      },
      alive: (wire) => events.alive(wire === undefined ? undefined : this.#sent.idOf(wire)),
    });
  }

  get pid(): number | undefined {
    return this.#inner.pid;
  }
  get session(): SessionHold | undefined {
    return this.#inner.session;
  }

  get mayQuoteUnowned(): boolean {
    return this.#inner.mayQuoteUnowned === true;
  }

  send(frame: Buffer, id: number | undefined, deadline: Deadline, share?: string): Outcome<void> {
    if (!this.#stateless) return this.#inner.send(frame, id, deadline, share);
    const dressed = this.#dressed(frame, id, deadline);
    if (dressed !== undefined) return this.#inner.send(dressed, id && this.#sent.wireOf(id), deadline);
    if (id === undefined) deadline[Symbol.dispose]();
    return undefined;
  }

  abort(id: number): boolean {
    const mayHaveLeft = this.#inner.abort(this.#sent.wireOf(id));
    // A request that cannot be closed is cancelled by that number next.
    if (this.#parts.closes || !mayHaveLeft) this.#forget(id);
    else this.#drop(id);
    return mayHaveLeft;
  }

  unowned(id: number, error: Buffer): Buffer {
    const method = this.#stateless ? this.#sent.methodOf(this.#sent.wireOf(id)) : undefined;
    this.#forget(id);
    return method === undefined ? error : neutralError(method, error);
  }

  negotiated(version: string | undefined): void {
    this.#stateless = version === VERSION_2026;
    this.#inner.negotiated(version, this.#parts.declared);
  }

  stop(deadline: Deadline): Promise<void> {
    this.#parts.repeats[Symbol.dispose]();
    return this.#inner.stop(deadline);
  }

  #forget(id: number): void {
    this.#sent.forget(id);
    this.#drop(id);
  }

  /** Drops a call that does not continue. */
  #drop(id: number): void {
    this.#parts.repeats.forget(id);
    this.#rounds.forget(id);
  }

  /**
   * Returns undefined when this era has no such message, or it is an answer that waits for others. Subscriptions go
   * into subscriptions/listen.
   */
  #dressed(frame: Buffer, id: number | undefined, deadline: Deadline): Buffer | undefined {
    const envelope = scanEnvelope(frame, SCAN);
    if (isRefusal(envelope)) return frame;
    const { bytes, params: span, method, kind } = envelope;
    const params = span.at < 0 ? undefined : bytes.subarray(span.at, span.end);
    if (kind === 'reply') this.#answered(envelope);
    if (id === undefined) {
      const isCancel = method === 'notifications/cancelled' && !this.#parts.closes;
      return isCancel ? this.#cancelled(method, params) : undefined;
    }
    if (SUBSCRIPTIONS.has(method)) {
      this.#wished(id, method);
      return undefined;
    }
    const request = { method, params, deadline };
    return this.#request(this.#sent.add(id, request), request);
  }

  #cancelled(method: string, params: Buffer = EMPTY): Buffer {
    const { requestId, ...rest } = JSON.parse(params.toString('utf8')) as { readonly requestId?: unknown };
    const id = Number(requestId);
    const told = { ...rest, requestId: this.#sent.wireOf(id) };
    this.#sent.forget(id);
    return notificationFrame(method, jsonBytes(told));
  }

  #wished(id: number, method: string): void {
    const idRaw = Buffer.from(String(id));
    this.#parts.preferencesChanged();
    const message = `The server sends no updates of resources: ${method}`;
    this.#hear(id, this.#subscribes ? resultFrame(idRaw, EMPTY) : errorFrame(idRaw, { code: -32601, message }));
  }

  #request(wire: number, { method, params }: SentRequest): Buffer {
    const { version, capabilities, logLevel } = this.#parts;
    const meta = requestMeta({ name: 'mcphub', version }, capabilities, logLevel());
    return requestFrame(wire, method === 'ping' ? 'server/discover' : method, withRequestMeta(params, meta));
  }

  /** Takes a user's answer: with the last one of a round the call continues. */
  #answered({ bytes, id, result, error }: Envelope): void {
    const text = (span: Span) => (span.at < 0 ? undefined : bytes.toString('utf8', span.at, span.end));
    const step = this.#rounds.answered(text(id) ?? '', text(result), text(error) ?? '');
    if (step?.kind === 'again') this.#goOn(step);
    else if (step?.kind === 'refused') this.#tell(step.id, step.first.method, `${ASKS} (${step.why.slice(0, 200)})`);
  }

  #goOn({ id, first, members }: InputRetry): void {
    const rest = (first.params ?? EMPTY).subarray(1);
    const comma = /^\s*\}/.test(rest.toString('latin1', 0, 16)) ? '' : ',';
    this.#again(id, { ...first, params: Buffer.concat([Buffer.from(`{${members}${comma}`), rest]) });
  }

  #again(id: number, request: SentRequest): void {
    const wire = this.#sent.add(id, request);
    const sent = this.#inner.send(this.#request(wire, request), wire, request.deadline);
    if (isRefusal(sent)) this.#tell(id, request.method, sent.message);
  }

  #tell(id: number, method: string, why: string): void {
    this.#forget(id);
    this.#hear(id, endFrame(Buffer.from(String(id)), method, why));
  }

  /** Handles a frame as if the server had sent it. */
  #hear(id: number | undefined, frame: Buffer): void {
    const envelope = envelopeOf(frame);
    if (envelope) this.#parts.events.message(envelope, id);
  }

  /** Ends the call of an invalid answer at once. */
  #understood(envelope: Envelope): Envelope | undefined {
    const wire = this.#sent.answeredBy(envelope);
    const why = wire === undefined ? undefined : answerFault(envelope, this.#sent.methodOf(wire));
    if (wire === undefined || why === undefined) return this.#heard(envelope);
    const id = this.#sent.idOf(wire);
    this.#forget(id);
    this.#parts.events.failed(id, unusableAnswer(this.#parts.server, why, envelope));
    return undefined;
  }

  /** Returns undefined when the answer is a request, matches nothing, or the call is sent once more. */
  #heard(envelope: Envelope): Envelope | undefined {
    const { bytes, kind, result, error } = envelope;
    if (kind !== 'reply') return translateNotification(envelope);
    const wire = this.#sent.answeredBy(envelope) ?? Number.NaN;
    const sent = this.#sent.answered(wire);
    if (!sent) {
      this.#parts.events.unmatched(Number.isNaN(wire) ? undefined : this.#sent.idOf(wire));
      return undefined;
    }
    const id = this.#sent.idOf(wire);
    if (result.at < 0) return this.#refused(id, sent, bytes.subarray(error.at, error.end));
    const json = filledResult(sent.method, envelope);
    const type = resultType(json);
    const why = type === 'input_required' ? this.#ask(id, sent, json) : asksBack(type);
    if (why === undefined) return undefined;
    this.#forget(id);
    if (sent.method === 'server/discover') this.#subscribes = declaresSubscribe(json);
    const idRaw = Buffer.from(String(id));
    return envelopeOf(
      type === 'complete' ? resultFrame(idRaw, neutralResult(json)) : endFrame(idRaw, sent.method, why),
    );
  }

  #refused(id: number, sent: SentRequest, error: Buffer): Envelope | undefined {
    const told = () => {
      this.#forget(id);
      return rawErrorFrame(Buffer.from(String(id)), neutralError(sent.method, error));
    };
    const isMismatch = errorCode(error) === HEADER_MISMATCH && sent.method === 'tools/call';
    if (!isMismatch || sent.isRepeated) return envelopeOf(told());
    // The tools declare other headers than the hub has read, and the server has executed nothing.
    this.#parts.repeats.hold(id, (isLearned) => {
      if (isLearned) this.#again(id, { ...sent, isRepeated: true });
      else this.#hear(id, told());
    });
    this.#hear(undefined, notificationFrame('notifications/tools/list_changed', undefined));
    return undefined;
  }

  /** Asks the user and returns undefined, or returns why it cannot. */
  #ask(id: number, first: SentRequest, json: Buffer): string | undefined {
    const questions = this.#rounds.begin(id, this.#rounds.first(id) ?? first, json);
    if (typeof questions === 'string') return `${ASKS} (${questions})`;
    for (const { idRaw, method, params } of questions) this.#hear(id, requestFrame(idRaw, method, params));
    const next = questions.length === 0 ? this.#rounds.again(id) : undefined;
    if (next) this.#goOn(next);
    return undefined;
  }
}

/**
 * A transport whose server may speak the stateless era (2026-07-28): from then on each request says who the hub is, and answers lose what only
 * that era knows, so that the rest of this room speaks one language.
 * Promises: as long as the server speaks the 2025 dates every call goes through untouched; what a result asks back is asked of the user where
 * there is one, and ends as a clear error where there is none, never as an empty success; cancelling is closing the request where there is one to close (HTTP), and a notification where there is none (stdio).
 * Does not: decide which era is spoken (`handshake.ts`), or build headers (`transports/http.ts`).
 */
import type { Deadline } from '../kernel/deadline.ts';
import { isRefusal, type Outcome } from '../kernel/outcome.ts';
import type { ServerSpec } from '../kernel/snapshot.ts';
import { capabilitiesFrom } from '../protocol/era-2025/initialize.ts';
import {
  declaresSubscribe,
  errorCode,
  neutralError,
  neutralParams,
  neutralResult,
  requestMeta,
  resultType,
  withRequestMeta,
} from '../protocol/era-2026/outgoing.ts';
import { VERSION_2026 } from '../protocol/era-2026/versions.ts';
import type { Envelope, Span } from '../protocol/message.ts';
import { scanEnvelope } from '../protocol/scan.ts';
import { errorFrame, notificationFrame, rawErrorFrame, requestFrame, resultFrame } from '../protocol/write.ts';
import { type FirstRequest, type RoundAgain, Rounds } from './_rounds.ts';
import type { ToolHeaders } from './_tool-headers.ts';
import type { Talk } from './talk.ts';
import type { DeclaredHeaders, Transport, TransportEvents } from './transport.ts';

interface EraParts {
  readonly make: (events: TransportEvents) => Transport;
  readonly events: TransportEvents;
  /** Version of the hub. */
  readonly version: string;
  /** What the client side declares, in the words of either era. */
  readonly capabilities: object;
  readonly logLevel: () => string | undefined;
  readonly declared: DeclaredHeaders;
  /** What the client side wants to hear may be another thing now. */
  readonly wishesChanged: () => void;
  /** A request can be closed at the wire. */
  readonly closes: boolean;
}

/** Which are no requests of this era. */
const SUBSCRIPTIONS: ReadonlySet<string> = new Set(['resources/subscribe', 'resources/unsubscribe']);
const EMPTY = Buffer.from('{}');
const HEADER_MISMATCH = -32020;
const SCAN = { maxDepth: 4096, maxIdBytes: 256, strict: false } as const;
const ASKS =
  'The server asks its user before it goes on, and nobody can be asked: mark it "interactive", and use a client that declares what it asks for.';

/** The transport of one connection, in whichever era its server turns out to speak. */
export function inEras(
  {
    spec,
    version,
    talk,
    makeTransport,
    toolHeaders,
    wishesChanged,
  }: {
    readonly spec: ServerSpec;
    readonly version: string;
    readonly talk: Pick<Talk, 'capabilityBits' | 'logLevel'>;
    readonly makeTransport: (spec: ServerSpec, events: TransportEvents) => Transport;
    readonly toolHeaders: ToolHeaders;
    readonly wishesChanged: () => void;
  },
  events: TransportEvents,
): Transport {
  return new EraTransport({
    ...{ make: (own) => makeTransport(spec, own), events, version },
    capabilities: capabilitiesFrom(talk.capabilityBits),
    logLevel: () => talk.logLevel(),
    declared: (tool) => toolHeaders.of(tool),
    wishesChanged,
    closes: spec.transport.kind !== 'stdio',
  });
}

/** `pid` as in `Connection`. */
class EraTransport implements Transport {
  readonly #parts: EraParts;
  readonly #inner: Transport & { readonly pid?: number | undefined };
  #stateless = false;
  /** What was asked for, by id: it decides how some answers are told, and may have to be asked again. */
  readonly #asked = new Map<number, FirstRequest>(); // bounded by: the requests in flight
  readonly #rounds = new Rounds();
  /** It tells of changed resources. */
  #subscribes = false;

  constructor(parts: EraParts) {
    this.#parts = parts;
    const { events } = parts;
    this.#inner = parts.make({
      ...events,
      message: (envelope, exchange) => {
        const heard = this.#stateless ? this.#heard(envelope) : envelope;
        if (heard) events.message(heard, exchange);
      },
      failed: (id, fault) => {
        this.#forget(id);
        events.failed(id, fault);
      },
    });
  }

  get pid(): number | undefined {
    return this.#inner.pid;
  }

  start(deadline: Deadline): Promise<void> {
    return this.#inner.start(deadline);
  }

  send(frame: Buffer, id: number | undefined, deadline: Deadline): Outcome<void> {
    if (!this.#stateless) return this.#inner.send(frame, id, deadline);
    const dressed = this.#dressed(frame, id, deadline);
    if (dressed !== undefined) return this.#inner.send(dressed, id, deadline);
    if (id === undefined) deadline[Symbol.dispose]();
    return undefined;
  }

  abort(id: number): void {
    this.#forget(id);
    this.#inner.abort(id);
  }

  negotiated(version: string | undefined): void {
    this.#stateless = version === VERSION_2026;
    this.#inner.negotiated(version, this.#parts.declared);
  }

  questionKey(idRaw: string): string | undefined {
    return this.#rounds.keyOf(idRaw);
  }

  cpuMs(): number | undefined {
    return this.#inner.cpuMs();
  }

  stderrTail(): readonly string[] {
    return this.#inner.stderrTail();
  }

  stop(deadline: Deadline): Promise<void> {
    return this.#inner.stop(deadline);
  }

  #forget(id: number): void {
    this.#asked.delete(id);
    this.#rounds.forget(id);
  }

  /** Undefined = this era has no such message, or it is an answer that waits for others. A subscription is a wish, told by listening. */
  #dressed(frame: Buffer, id: number | undefined, deadline: Deadline): Buffer | undefined {
    const envelope = scanEnvelope(frame, SCAN);
    if (isRefusal(envelope)) return frame;
    const { bytes, params: span, method, kind } = envelope;
    const params = span.at < 0 ? undefined : bytes.subarray(span.at, span.end);
    if (kind === 'reply') this.#answered(envelope);
    if (id === undefined) {
      const isCancel = method === 'notifications/cancelled' && !this.#parts.closes;
      return isCancel ? notificationFrame(method, params) : undefined;
    }
    if (SUBSCRIPTIONS.has(method)) {
      this.#wished(id, method);
      return undefined;
    }
    this.#asked.set(id, { method, params, deadline });
    return this.#request(id, method, params);
  }

  #wished(id: number, method: string): void {
    const idRaw = Buffer.from(String(id));
    this.#parts.wishesChanged();
    const message = `The server tells of no changed resources: ${method}`;
    this.#hear(id, this.#subscribes ? resultFrame(idRaw, EMPTY) : errorFrame(idRaw, { code: -32601, message }));
  }

  #request(id: number, method: string, params: Buffer | undefined): Buffer {
    const { version, capabilities, logLevel } = this.#parts;
    const meta = requestMeta({ name: 'mcphub', version }, capabilities, logLevel());
    return requestFrame(id, method === 'ping' ? 'server/discover' : method, withRequestMeta(params, meta));
  }

  /** What a user has answered: with the last of a round the call goes on. */
  #answered({ bytes, id, result, error }: Envelope): void {
    const text = (span: Span) => (span.at < 0 ? undefined : bytes.toString('utf8', span.at, span.end));
    const step = this.#rounds.answered(text(id) ?? '', text(result), text(error) ?? '');
    if (step?.kind === 'again') this.#goOn(step);
    else if (step?.kind === 'refused') this.#tell(step.id, step.first.method, `${ASKS} (${step.why.slice(0, 200)})`);
  }

  #goOn({ id, first, members }: RoundAgain): void {
    const rest = (first.params ?? EMPTY).subarray(1);
    const comma = /^\s*\}/.test(rest.toString('latin1', 0, 16)) ? '' : ',';
    const params = Buffer.concat([Buffer.from(`{${members}${comma}`), rest]);
    this.#asked.set(id, first);
    const sent = this.#inner.send(this.#request(id, first.method, params), id, first.deadline);
    if (isRefusal(sent)) this.#tell(id, first.method, sent.message);
  }

  /** A call that cannot go on ends in the words of its method. */
  #tell(id: number, method: string, why: string): void {
    this.#forget(id);
    this.#hear(id, endFrame(Buffer.from(String(id)), method, why));
  }

  /** As if the server had said it. */
  #hear(id: number | undefined, frame: Buffer): void {
    const envelope = scanEnvelope(frame, SCAN);
    if (!isRefusal(envelope)) this.#parts.events.message(envelope, id);
  }

  /** Undefined = the answer is a question, and goes another way. */
  #heard(envelope: Envelope): Envelope | undefined {
    const { bytes, id, kind, result, error } = envelope;
    if (kind !== 'reply') return heardNotice(envelope);
    const idRaw = bytes.subarray(id.at, id.end);
    const number = Number(idRaw.toString('latin1'));
    const first = this.#asked.get(number);
    const method = first?.method ?? '';
    this.#asked.delete(number);
    const json = result.at < 0 ? undefined : bytes.subarray(result.at, result.end);
    const type = json === undefined ? 'complete' : resultType(json);
    const why = json && first && type === 'input_required' ? this.#ask(number, first, json) : asksBack(type);
    if (why === undefined) return undefined;
    this.#rounds.forget(number);
    if (json && method === 'server/discover') this.#subscribes = declaresSubscribe(json);
    // The tools declare other headers than the hub has read: the next call knows better.
    if (json === undefined && errorCode(bytes.subarray(error.at, error.end)) === HEADER_MISMATCH)
      this.#hear(undefined, notificationFrame('notifications/tools/list_changed', undefined));
    const text =
      json === undefined
        ? rawErrorFrame(idRaw, neutralError(method, bytes.subarray(error.at, error.end)))
        : type === 'complete'
          ? resultFrame(idRaw, neutralResult(json))
          : endFrame(idRaw, method, why);
    const neutral = scanEnvelope(text, SCAN);
    return isRefusal(neutral) ? envelope : neutral;
  }

  /** Undefined = it is asked; else why not. */
  #ask(id: number, first: FirstRequest, json: Buffer): string | undefined {
    const questions = this.#rounds.begin(id, this.#rounds.first(id) ?? first, json);
    if (typeof questions === 'string') return `${ASKS} (${questions})`;
    for (const { idRaw, method, params } of questions) this.#hear(id, requestFrame(idRaw, method, params));
    const next = questions.length === 0 ? this.#rounds.again(id) : undefined;
    if (next) this.#goOn(next);
    return undefined;
  }
}

function heardNotice(envelope: Envelope): Envelope {
  const { bytes, params, method } = envelope;
  if (params.at < 0) return envelope;
  const text = bytes.subarray(params.at, params.end);
  const neutral = neutralParams(text);
  if (neutral === text) return envelope;
  const notice = scanEnvelope(notificationFrame(method, neutral), SCAN);
  return isRefusal(notice) ? envelope : notice;
}

function endFrame(idRaw: Buffer, method: string, why: string): Buffer {
  if (method !== 'tools/call') return errorFrame(idRaw, { code: -32603, message: why });
  return resultFrame(idRaw, Buffer.from(JSON.stringify({ content: [{ type: 'text', text: why }], isError: true })));
}

function asksBack(type: string): string {
  return type === 'input_required'
    ? ASKS
    : `The server’s answer is of a kind that this hub does not know: ${type.slice(0, 60)}.`;
}

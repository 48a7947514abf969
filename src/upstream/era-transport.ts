/**
 * A transport whose server may speak the stateless era (2026-07-28): from then on each request says who the hub is, and answers lose what only
 * that era knows, so that the rest of this room speaks one language.
 * Promises: as long as the server speaks the 2025 dates every call goes through untouched; a result that asks back ends as a clear error, never as
 * an empty success; cancelling is closing the request where there is one to close (HTTP), and a notification where there is none (stdio).
 * Does not: decide which era is spoken (`handshake.ts`), or build headers (`transports/http.ts`).
 */
import type { Deadline } from '../kernel/deadline.ts';
import { isRefusal, type Outcome } from '../kernel/outcome.ts';
import type { ServerSpec } from '../kernel/snapshot.ts';
import { capabilitiesFrom } from '../protocol/era-2025/initialize.ts';
import {
  neutralError,
  neutralResult,
  requestMeta,
  resultType,
  withRequestMeta,
} from '../protocol/era-2026/outgoing.ts';
import { VERSION_2026 } from '../protocol/era-2026/versions.ts';
import type { Envelope } from '../protocol/message.ts';
import { scanEnvelope } from '../protocol/scan.ts';
import { errorFrame, notificationFrame, rawErrorFrame, requestFrame, resultFrame } from '../protocol/write.ts';
import type { Talk } from './talk.ts';
import type { Transport, TransportEvents } from './transport.ts';

interface EraParts {
  readonly make: (events: TransportEvents) => Transport;
  readonly events: TransportEvents;
  /** Version of the hub. */
  readonly version: string;
  /** What the client side declares, in the words of either era. */
  readonly capabilities: object;
  readonly logLevel: () => string | undefined;
  /** A request can be closed at the wire. */
  readonly closes: boolean;
}

const SCAN = { maxDepth: 4096, maxIdBytes: 256, strict: false } as const;
const ASKS =
  'The server asks its user before it goes on, which this hub does not bridge from servers of 2026-07-28 yet.';

/** The transport of one connection, in whichever era its server turns out to speak. */
export function inEras(
  {
    spec,
    version,
    talk,
    makeTransport,
  }: {
    readonly spec: ServerSpec;
    readonly version: string;
    readonly talk: Pick<Talk, 'capabilityBits' | 'logLevel'>;
    readonly makeTransport: (spec: ServerSpec, events: TransportEvents) => Transport;
  },
  events: TransportEvents,
): Transport {
  return new EraTransport({
    ...{ make: (own) => makeTransport(spec, own), events, version },
    capabilities: capabilitiesFrom(talk.capabilityBits),
    logLevel: () => talk.logLevel(),
    closes: spec.transport.kind !== 'stdio',
  });
}

/** `pid` as in `Connection`. */
class EraTransport implements Transport {
  readonly #parts: EraParts;
  readonly #inner: Transport & { readonly pid?: number | undefined };
  #stateless = false;
  /** Methods by id: what was asked for decides how some answers are told. */
  readonly #asked = new Map<number, string>(); // bounded by: the requests in flight

  constructor(parts: EraParts) {
    this.#parts = parts;
    const { events } = parts;
    this.#inner = parts.make({
      ...events,
      message: (envelope, exchange) => events.message(this.#stateless ? this.#heard(envelope) : envelope, exchange),
      failed: (id, fault) => {
        this.#asked.delete(id);
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
    const dressed = this.#dressed(frame, id);
    if (dressed !== undefined) return this.#inner.send(dressed, id, deadline);
    deadline[Symbol.dispose]();
    return undefined;
  }

  abort(id: number): void {
    this.#asked.delete(id);
    this.#inner.abort(id);
  }

  negotiated(version: string | undefined): void {
    this.#stateless = version === VERSION_2026;
    this.#inner.negotiated(version);
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

  /** Undefined = this era has no such message. */
  #dressed(frame: Buffer, id: number | undefined): Buffer | undefined {
    const envelope = scanEnvelope(frame, SCAN);
    if (isRefusal(envelope)) return frame;
    const { bytes, params: span, method } = envelope;
    const params = span.at < 0 ? undefined : bytes.subarray(span.at, span.end);
    if (id === undefined) {
      const isCancel = method === 'notifications/cancelled' && !this.#parts.closes;
      return isCancel ? notificationFrame(method, params) : undefined;
    }
    this.#asked.set(id, method);
    const { version, capabilities, logLevel } = this.#parts;
    const meta = requestMeta({ name: 'mcphub', version }, capabilities, logLevel());
    return requestFrame(id, method === 'ping' ? 'server/discover' : method, withRequestMeta(params, meta));
  }

  #heard(envelope: Envelope): Envelope {
    const { bytes, id, kind, result, error } = envelope;
    if (kind !== 'reply') return envelope;
    const idRaw = bytes.subarray(id.at, id.end);
    const number = Number(idRaw.toString('latin1'));
    const method = this.#asked.get(number) ?? '';
    this.#asked.delete(number);
    const text =
      result.at < 0
        ? rawErrorFrame(idRaw, neutralError(method, bytes.subarray(error.at, error.end)))
        : this.#result(idRaw, method, bytes.subarray(result.at, result.end));
    const neutral = scanEnvelope(text, SCAN);
    return isRefusal(neutral) ? envelope : neutral;
  }

  #result(idRaw: Buffer, method: string, json: Buffer): Buffer {
    const type = resultType(json);
    if (type === 'complete') return resultFrame(idRaw, neutralResult(json));
    if (method === 'tools/call') return resultFrame(idRaw, toolError(type));
    return errorFrame(idRaw, { code: -32603, message: asksBack(type) });
  }
}

function asksBack(type: string): string {
  return type === 'input_required'
    ? ASKS
    : `The server’s answer is of a kind that this hub does not know: ${type.slice(0, 60)}.`;
}

function toolError(type: string): Buffer {
  return Buffer.from(JSON.stringify({ content: [{ type: 'text', text: asksBack(type) }], isError: true }));
}

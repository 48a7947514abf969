/**
 * What the outcomes of calls say about their server: counts for its status, the circuit breaker, and when to probe it.
 * `failure-signs.ts` decides which failures count against a server.
 * Guarantees: refusals of the hub and errors of a tool count as no failure; the operator finds each failure under the
 * reference that its client gets.
 */
import { type ErrorCode, newReference } from '../model/errors.ts';
import { isRefusal, type Outcome, Refusal } from '../model/outcome.ts';
import type { ServerSpec } from '../model/snapshot.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { UpstreamCall, UpstreamReply } from './call.ts';
import { isLocal } from './call-endings.ts';
import type { Circuit } from './circuit.ts';
import { saysUnknownTool } from './connection/unknown-tool.ts';
import type { Link } from './link/link.ts';

export interface CallOutcomesParts {
  readonly runtime: Runtime;
  readonly spec: ServerSpec;
  readonly link: Link;
  readonly circuit: Circuit;
}

/** Failures after which the server may be unreachable, or may have lost the session: it is probed. */
const BROKEN: ReadonlySet<ErrorCode> = new Set([
  'upstream-connect',
  'upstream-gone',
  'upstream-dns',
  'upstream-tls',
  'upstream-http',
  'upstream-protocol',
  'upstream-session',
  'upstream-auth',
]);

/** This many failures in a row are not caused by a single call. */
const ALL_FAIL = 3;
/** Error replies in a row after which the server is probed for the first time; the next time after twice as many. */
const ERRORS = 3;

/** A call that failed at the server, for the operator. */
export interface CallFailure {
  readonly code: ErrorCode;
  readonly message: string;
  /** Native name of the tool; undefined for other methods. */
  readonly tool: string | undefined;
  readonly reference: string;
  readonly atMs: number;
}

export class CallOutcomes {
  readonly #parts: CallOutcomesParts;
  failures = 0;
  /** The last call that failed at the server. */
  lastFailure: CallFailure | undefined;
  /** Failures since the last answered call. */
  #inRow = 0;
  /** Error replies since the last result, and the number after which the server is doubtful. */
  #errors = 0;
  #errorsDue = ERRORS;

  constructor(parts: CallOutcomesParts) {
    this.#parts = parts;
  }

  /** Records how a call ended. `sentMs`: when it was sent. Returns what its client gets. */
  record(answer: Outcome<UpstreamReply>, sentMs: number, call: UpstreamCall): Outcome<UpstreamReply> {
    const { runtime, spec, link, circuit } = this.#parts;
    const nowMs = runtime.clock.nowMs();
    if (!isRefusal(answer)) {
      if (saysUnknownTool(answer)) link.unknownTool();
      link.lives.served();
      this.#inRow = 0;
      this.#replied(answer);
      // A server that asks users takes as long as they do.
      circuit.succeeded(nowMs, spec.interactive ? undefined : nowMs - sentMs, call.fairKey);
      return answer;
    }
    if (!answer.code.startsWith('upstream-')) return answer;
    if (answer.code !== 'upstream-too-large') this.failures += 1;
    this.#inRow += 1;
    const mayBeGone = circuit.failed(answer, call, nowMs);
    // Only the hub can restart a child that does not respond.
    if (BROKEN.has(answer.code) || (mayBeGone && isLocal(spec))) link.suspect(this.#inRow >= ALL_FAIL);
    return this.#reported(answer, call.tool);
  }

  /** Counts error replies: a server that has lost the session, or changed its era, may answer every call with one. */
  #replied({ kind }: UpstreamReply): void {
    if (kind === 'result') {
      this.#errors = 0;
      this.#errorsDue = ERRORS;
      return;
    }
    this.#errors += 1;
    if (this.#errors < this.#errorsDue) return;
    this.#errorsDue *= 2;
    this.#parts.link.suspect(true);
  }

  /** Publishes for the operator the details of which clients get only a reference. */
  #reported({ code, message, detail }: Refusal, tool: string | undefined): Refusal {
    const { runtime, spec } = this.#parts;
    const { reference = newReference(), operator } = detail;
    const page = String(operator?.body ?? '');
    this.lastFailure = { code, message, tool, reference, atMs: runtime.clock.nowMs() };
    runtime.bus.publish({ type: 'server-call-failed', server: spec.slug, code, message, reference, page, tool });
    return new Refusal(code, message, { ...detail, server: spec.slug, reference });
  }
}

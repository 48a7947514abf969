/**
 * The path of a call to one server: circuit breaker → queue and permit → circuit breaker again → link. Servers do not
 * affect each other.
 * Guarantees: an open circuit refuses at once; a full server refuses only its own calls; keys take turns in the queue;
 * `failure-signs.ts` decides which failures count against a server.
 */
import type { Limits } from '../config/limits.ts';
import { type ErrorCode, newReference } from '../model/errors.ts';
import { isRefusal, type Outcome, Refusal } from '../model/outcome.ts';
import type { ServerSpec } from '../model/snapshot.ts';
import { Bulkhead, type Permit } from '../resilience/bulkhead.ts';
import type { Deadline } from '../runtime/deadline.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { UpstreamCall, UpstreamReply } from './call.ts';
import { isLocal } from './call-endings.ts';
import { Circuit } from './circuit.ts';
import { saysUnknownTool } from './connection/unknown-tool.ts';
import type { Link } from './link/link.ts';

export interface UpstreamPipelineParts {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly spec: ServerSpec;
  readonly link: Link;
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

export class UpstreamPipeline {
  readonly #parts: UpstreamPipelineParts;
  readonly #bulkhead: Bulkhead;
  readonly circuit: Circuit;
  calls = 0;
  failures = 0;
  /** Failures since the last answered call. */
  #inRow = 0;
  /** Error replies since the last result, and the number after which the server is doubtful. */
  #errors = 0;
  #errorsDue = ERRORS;
  #idle: (() => void) | undefined;
  /** The last call that failed at the server. */
  lastFailure: CallFailure | undefined;

  constructor(parts: UpstreamPipelineParts) {
    this.#parts = parts;
    const { limits, spec } = parts;
    const inside =
      spec.inFlight ??
      (isLocal(spec) && spec.transport.kind === 'stdio' ? limits.stdioInFlight : limits.serverInFlight);
    this.#bulkhead = new Bulkhead({
      inside,
      waiting: limits.serverQueue,
      refusal: (why, busy, queued) =>
        new Refusal(
          'server-busy',
          `${spec.slug} has ${busy} calls inside and ${queued} waiting${why === 'waited' ? '; no place came free in time' : ''}.`,
          {
            server: spec.slug,
            phase: 'queue',
            setting: why === 'waited' ? 'serverQueueMs' : 'inFlight',
            outcome: 'not-executed',
            retryAfterMs: 1000,
          },
        ),
    });
    this.circuit = new Circuit(parts);
  }

  get queued(): number {
    return this.#bulkhead.waiting;
  }

  get inFlight(): number {
    return this.#bulkhead.inside;
  }

  call(call: UpstreamCall): Outcome<UpstreamReply> | Promise<Outcome<UpstreamReply>> {
    this.calls += 1;
    if (!this.circuit.allows()) return this.circuit.refuse();
    const limited = this.#parts.link.lives.limited(call.fairKey);
    if (limited) return limited;
    const ready = this.#parts.link.whenReady(call.budget.deadline, call.owner);
    return ready instanceof Promise ? ready.then((late) => this.#enter(late, call)) : this.#enter(ready, call);
  }

  /** Resets the pipeline for a new connection. */
  becameReady(): void {
    this.circuit.becameReady();
  }

  /** Waits until no call is running or queued, or the deadline ends. Never rejects. */
  async drain(deadline: Deadline): Promise<void> {
    const { runtime, spec } = this.#parts;
    if (this.#bulkhead.inside === 0 && this.#bulkhead.waiting === 0) return;
    const idle = new Promise<void>((resolve) => {
      this.#idle = resolve;
    });
    try {
      await runtime.waits.for(idle, { label: 'upstream-stop', owner: spec.slug, deadline });
    } catch {
      // Calls that are still pending end with the link.
    }
  }

  close(): void {
    this.circuit.close();
  }

  #enter(ready: Outcome<undefined>, call: UpstreamCall): Outcome<UpstreamReply> | Promise<Outcome<UpstreamReply>> {
    if (isRefusal(ready)) return ready;
    const permit = this.#bulkhead.tryEnter(call.fairKey);
    if (permit) return this.#inside(permit, call);
    return this.#bulkhead.hasPlace(call.fairKey) ? this.#queue(call) : this.#bulkhead.refuse();
  }

  #queue(call: UpstreamCall): Outcome<UpstreamReply> | Promise<Outcome<UpstreamReply>> {
    const { runtime, limits } = this.#parts;
    const deadline = call.budget.deadline.sooner(limits.serverQueueMs);
    try {
      const wait = runtime.waits.open('upstream-queue', call.owner, deadline);
      const goOn = (permit: Outcome<Permit>): Outcome<UpstreamReply> | Promise<Outcome<UpstreamReply>> => {
        wait.leave();
        deadline[Symbol.dispose]();
        return this.#inside(permit, call);
      };
      const permit = this.#bulkhead.enter(deadline, call.fairKey);
      return permit instanceof Promise ? permit.then(goOn) : goOn(permit);
    } catch (fault) {
      deadline[Symbol.dispose]();
      throw fault;
    }
  }

  #inside(permit: Outcome<Permit>, call: UpstreamCall): Outcome<UpstreamReply> | Promise<Outcome<UpstreamReply>> {
    if (isRefusal(permit)) return permit;
    if (!this.circuit.allows()) {
      this.#leave(permit);
      return this.circuit.refuse();
    }
    call.budget.startStrictTimeout();
    const finish = (answer: Outcome<UpstreamReply>): Outcome<UpstreamReply> => {
      this.#leave(permit);
      return this.#judged(answer, sentMs, call);
    };
    const sentMs = this.#parts.runtime.clock.nowMs();
    const answer = this.#parts.link.send(call);
    return answer instanceof Promise ? answer.then(finish) : finish(answer);
  }

  #leave(permit: Permit): void {
    permit[Symbol.dispose]();
    if (this.#bulkhead.inside === 0 && this.#bulkhead.waiting === 0) this.#idle?.();
  }

  #judged(answer: Outcome<UpstreamReply>, sentMs: number, call: UpstreamCall): Outcome<UpstreamReply> {
    const { runtime, spec, link } = this.#parts;
    const nowMs = runtime.clock.nowMs();
    if (!isRefusal(answer)) {
      if (saysUnknownTool(answer)) link.unknownTool();
      link.lives.served();
      this.#inRow = 0;
      this.#replied(answer);
      // A server that asks users takes as long as they do.
      this.circuit.succeeded(nowMs, spec.interactive ? undefined : nowMs - sentMs, call.fairKey);
      return answer;
    }
    if (!answer.code.startsWith('upstream-')) return answer;
    if (answer.code !== 'upstream-too-large') this.failures += 1;
    this.#inRow += 1;
    const mayBeGone = this.circuit.failed(answer, call, nowMs);
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
